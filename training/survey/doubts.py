"""Frames that can be read and may be wrong: masks without labels, specks, threads, other places, other files, odd photos.

Reads no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from training.data.problems import MOST_NAMED, first_names
from training.survey.records import Survey

SPECK = 2e-5  # share of a mask's pixels: 4 of 512x384, 15x15 of a photo of 12 megapixels
# a larger speck is less than these shares of the class's usual pixels, and of the mask's
SPECK_OF_USUAL, LARGE_SPECK = 0.01, 2e-4
# masks of a split that may do something by a slip: a number, or a share of all where that is more
EXCEPTIONS, LINE_EXCEPTIONS = (3, 0.1), (1, 0.03)
FEWEST_OTHERS = 3  # for each of them, masks that must do otherwise
FEW_FRAMES, LEAST_FRAMES = 3, 10  # a class in fewer than 3 frames is rare, in a split of at least 10
SMALL = 0.1  # share of the median's pixels below which a photo may be a thumbnail
Finding = tuple[int, str]
"""The index of a frame in its split, and what is odd about it; an empty text where the remark says it."""


def remarks(survey: Survey, part: Literal["masks", "images"], kinds: Iterable[tuple[Sequence[Finding], str]]) -> list[str]:
    """A line for each kind of remark that names a frame: the number of its findings, its text, and the first names."""
    paths = [frame.mask if part == "masks" else frame.image for frame in survey.split.frames]
    lines = []
    for findings, text in kinds:
        if findings:
            names = first_names((f"{paths[index]}{f' ({what})' if what else ''}" for index, what in findings), MOST_NAMED)
            lines.append(f"{len(findings)} {part} of {survey.split.name!r} {text}: {names}")
    return lines


def doubtful_labels(survey: Survey, swaps: Collection[Path] = ()) -> list[str]:
    """Remarks on a split's masks. swaps: masks of `swapped_masks`, which are not told again as masks that lie wrongly."""
    frames, records, counts = survey.split.frames, survey.records, survey.class_pixels
    places = [
        (index, record.better_place)
        for index, record in enumerate(records)
        if record.better_place and frames[index].mask not in swaps
    ]
    only_void = [(int(index), "") for index in np.flatnonzero(~counts.any(1))]
    others = "are files of another kind than the others, so their values may mean other classes"
    kinds = [
        (places, "do not fit their image as they lie; their borders would lie on its edges if they were"),
        (only_void, "hold no class, only void"),
        (_single_classes(survey), "show one class alone, as if objects had been left out"),
        (_specks(survey), "show a class by a speck alone, as by a slip"),
        (_threads(survey), "show a class by thin lines alone, as scaling or JPEG leaves between others"),
        (_other_kinds(survey), others),
    ]
    return remarks(survey, "masks", kinds)


def rare_classes(survey: Survey) -> list[str]:
    """A remark on the classes that few of the split's frames show, if there are any."""
    split, counts = survey.split, survey.class_pixels
    if len(counts) < LEAST_FRAMES:
        return []
    rare = []
    for index, label in enumerate(split.labels.names):
        frames = [frame.name for frame, row in zip(split.frames, counts, strict=True) if row[index]]
        if 0 < len(frames) < FEW_FRAMES:
            rare.append(f"{label} ({', '.join(frames)})")
    if not rare:
        return []
    return [
        f"{len(rare)} of {len(split.labels)} classes are shown by fewer than {FEW_FRAMES} of the {len(counts)} frames of "
        f"{split.name!r}: {first_names(rare, MOST_NAMED)}"
    ]


def odd_photos(survey: Survey) -> list[str]:
    """Remarks on a split's photos. If the survey has read no pixels, they are on sizes and CMYK alone."""
    looks = {
        look: [(index, "") for index, record in enumerate(survey.records) if record.appearance == look]
        for look in ("one colour", "cut off", "grey")
    }
    cmyk = [(index, "") for index, record in enumerate(survey.records) if record.is_cmyk]
    cut_off = "are black or grey in their lower part, as a file that ended too early is when it is saved again"
    without_profile = "are CMYK, and are read without their colour profile, so their colours differ from what viewers show"
    kinds = [
        (looks["one colour"], "are of one colour, as a shot of nothing is, so their labels teach nothing"),
        (looks["cut off"], cut_off),
        (_small(survey), "have less than a tenth of the pixels that the median image has, as a thumbnail has"),
        (if_exceptions(looks["grey"], survey), "are grey, nearly all others are not"),
        (cmyk, f"{without_profile}; save them as RGB"),
    ]
    return remarks(survey, "images", kinds)


def are_exceptions(number: int, total: int, most: tuple[int, float] = EXCEPTIONS, fewest_others: int = FEWEST_OTHERS) -> bool:
    """Whether so few of a split's frames do something, and so many others do not, that it may be a slip.

    most: the number that are exceptions at most, or a share of `total` where that is more. fewest_others: frames that must do
    otherwise for each of them.
    """
    return number <= max(most[0], int(most[1] * total)) and total - number >= fewest_others * number


def if_exceptions(findings: list[Finding], survey: Survey) -> list[Finding]:
    """The findings, if they are exceptions in their split; else none."""
    return findings if are_exceptions(len(findings), len(survey.records)) else []


def _small(survey: Survey) -> list[Finding]:
    """Photos of far fewer pixels than the median, with their width and height, if they are exceptions."""
    areas = survey.areas
    small = np.flatnonzero(areas < SMALL * np.median(areas)).tolist() if len(areas) else []
    sizes = [survey.records[index].size for index in small]
    return if_exceptions([(at, f"{width}x{height}") for at, (height, width) in zip(small, sizes, strict=True)], survey)


def _single_classes(survey: Survey) -> list[Finding]:
    """Masks that show nothing but one class and void, if they are exceptions."""
    has_class, names = survey.class_pixels > 0, survey.split.labels.names
    single = np.flatnonzero(has_class.sum(1) == 1).tolist()
    return if_exceptions([(index, names[int(has_class[index].argmax())]) for index in single], survey)


def _specks(survey: Survey) -> list[Finding]:
    """Masks with few pixels of a class, absolutely or beside what other masks of the split show of it."""
    counts, specks = survey.class_pixels, []
    for index, name in enumerate(survey.split.labels.names):
        shares = counts[:, index] / np.maximum(1, survey.areas)
        usual = float(np.median(shares[shares > 0])) if shares.any() else 0.0
        most = max(SPECK, min(LARGE_SPECK, usual * SPECK_OF_USUAL))
        frames = np.flatnonzero((shares > 0) & (shares < most)).tolist()
        specks += [(frame, f"{name}, {counts[frame, index]} pixels") for frame in frames]
    return sorted(specks)


def _threads(survey: Survey) -> list[Finding]:
    """Masks in which a class is thin everywhere, if this is an exception for the class."""
    table, names, counts = survey.split.mapping.table, survey.split.labels.names, survey.class_pixels
    thin = []
    for record, row in zip(survey.records, counts, strict=True):
        solid = {int(table[source]) for source in record.pixels if source not in record.thin}
        thin.append(set(np.flatnonzero(row).tolist()) - solid)
    totals = Counter(class_id for classes in thin for class_id in classes)
    return [
        (frame, f"{names[class_id]}, {counts[frame, class_id]} pixels")
        for frame, classes in enumerate(thin)
        for class_id in sorted(classes)
        if are_exceptions(totals[class_id], int((counts[:, class_id] > 0).sum()), LINE_EXCEPTIONS)
    ]


def _other_kinds(survey: Survey) -> list[Finding]:
    """Masks that are files of an exceptional kind, if nearly all others are of one."""
    usual = Counter(record.kind for record in survey.records).most_common(1)
    others = [
        (index, f"{record.kind}, not {usual[0][0]}")
        for index, record in enumerate(survey.records)
        if record.kind != usual[0][0]
    ]
    return if_exceptions(others, survey)
