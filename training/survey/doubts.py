"""Labels that can be read and may be wrong: masks without labels, specks, threads, other places, other files, rare classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from training.data.problems import MOST_NAMED, first_names
from training.survey.borders import swapped
from training.survey.records import Survey

SPECK = 2e-5  # share of a mask's pixels: 4 of 512x384, 15x15 of a photo of 12 megapixels
# a larger speck is less than these shares of the class's usual pixels, and of the mask's
SPECK_OF_USUAL, LARGE_SPECK = 0.01, 2e-4
# masks of a split that may do something by a slip: a number, or a share of all where that is more
EXCEPTIONS, LINE_EXCEPTIONS = (3, 0.1), (1, 0.03)
FEWEST_OTHERS = 3  # for each of them, masks that must do otherwise
FEW_FRAMES, LEAST_FRAMES = 3, 10  # a class in fewer than 3 frames is rare, in a split of at least 10


def doubtful_labels(survey: Survey, swaps: Collection[Path] = ()) -> list[str]:
    """Remarks on a split's masks, a line for each kind, with their number and the first names; reads no file.

    swaps: masks of `swapped_masks`, which are not told again as masks that lie wrongly.
    """
    name = survey.split.name
    kinds = [
        (
            [f"{mask} ({place})" for mask, place in _better_places(survey) if mask not in swaps],
            "masks of {} do not fit their image as they lie; their borders would lie on its edges if they were: {}",
        ),
        (
            [str(frame.mask) for frame, row in zip(survey.split.frames, survey.class_pixels, strict=True) if not row.any()],
            "masks of {} hold no class, only void: {}",
        ),
        (_single_classes(survey), "masks of {} show one class alone, as if objects had been left out: {}"),
        (_specks(survey), "masks of {} show a class by a speck alone, as by a slip: {}"),
        (_threads(survey), "masks of {} show a class by thin lines alone, as scaling or JPEG leaves between others: {}"),
        (
            _other_kinds(survey),
            "masks of {} are files of another kind than the others, so their values may mean other classes: {}",
        ),
    ]
    return [f"{len(names)} {text.format(repr(name), first_names(names, MOST_NAMED))}" for names, text in kinds if names]


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


def swapped_masks(surveys: Sequence[Survey]) -> list[tuple[Path, Path]]:
    """The pairs of masks of all these splits that seem to be swapped; reads no file.

    The surveys must have read pixels.
    """
    frames = [frame for survey in surveys for frame in survey.split.frames]
    records = [record for survey in surveys for record in survey.records]
    pairs = swapped([str(record.edge_cells) for record in records], [str(record.border_cells) for record in records])
    return [(frames[first].mask, frames[other].mask) for first, other in pairs]


def swapped_note(pairs: Sequence[tuple[Path, Path]]) -> list[str]:
    """A remark on the pairs of `swapped_masks`, if there are any."""
    if not pairs:
        return []
    names = first_names((f"{first} and {other}" for first, other in pairs), MOST_NAMED)
    return [f"{len(pairs)} pairs of masks fit each other's image better than their own, as if they were swapped: {names}"]


def copied_masks(surveys: Sequence[Survey]) -> list[str]:
    """A remark on masks of all these splits that hold the same ids for different images, if there are any.

    Masks of a single class are left out, since many images may share them.
    """
    firsts: dict[str, tuple[Path, str]] = {}
    pairs = []
    for survey in surveys:
        for frame, record in zip(survey.split.frames, survey.records, strict=True):
            first, image = firsts.setdefault(record.ids_sha256, (frame.mask, record.image_sha256))
            if first != frame.mask and image != record.image_sha256 and len(record.pixels) > 1:
                pairs.append(f"{frame.mask} like {first}")
    pairs = list(dict.fromkeys(pairs))  # once each: a frame may be listed twice
    if not pairs:
        return []
    names = first_names(pairs, MOST_NAMED)
    return [f"{len(pairs)} masks hold the same labels as another image's, one of which may be wrong: {names}"]


def _better_places(survey: Survey) -> list[tuple[Path, str]]:
    pairs = zip(survey.split.frames, survey.records, strict=True)
    return [(frame.mask, record.better_place) for frame, record in pairs if record.better_place]


def _single_classes(survey: Survey) -> list[str]:
    """Masks that show nothing but one class and void, if they are exceptions."""
    has_class = survey.class_pixels > 0
    single = np.flatnonzero(has_class.sum(1) == 1)
    if not are_exceptions(len(single), len(has_class)):
        return []
    names = survey.split.labels.names
    return [f"{survey.split.frames[index].mask} ({names[int(has_class[index].argmax())]})" for index in single.tolist()]


def _specks(survey: Survey) -> list[str]:
    """Masks with few pixels of a class, absolutely or beside what other masks of the split show of it."""
    counts, names = survey.class_pixels, survey.split.labels.names
    sizes = np.array([record.size[0] * record.size[1] for record in survey.records], np.int64)
    specks = []
    for index in range(len(names)):
        shares = counts[:, index] / np.maximum(1, sizes)
        usual = float(np.median(shares[shares > 0])) if shares.any() else 0.0
        most = max(SPECK, min(LARGE_SPECK, usual * SPECK_OF_USUAL))
        specks += [(int(frame), names[index], index) for frame in np.flatnonzero((shares > 0) & (shares < most))]
    return [
        f"{survey.split.frames[frame].mask} ({name}, {counts[frame, index]} pixels)" for frame, name, index in sorted(specks)
    ]


def _threads(survey: Survey) -> list[str]:
    """Masks in which a class is thin everywhere, if this is an exception for the class."""
    split = survey.split
    thin, thick = _classes_of(survey, inside=True), _classes_of(survey, inside=False)
    totals = Counter(class_id for classes in thin for class_id in classes)
    solid = Counter(class_id for classes in thick for class_id in classes)
    names = []
    for frame, classes, row in zip(split.frames, thin, survey.class_pixels, strict=True):
        for class_id in sorted(classes):
            text = f"{frame.mask} ({split.labels.names[class_id]}, {row[class_id]} pixels)"
            if are_exceptions(totals[class_id], totals[class_id] + solid[class_id], LINE_EXCEPTIONS):
                names.append(text)
    return names


def _classes_of(survey: Survey, *, inside: bool) -> list[set[int]]:
    """For each frame, the classes whose ids in the mask are all thin (`inside`), or the other ones."""
    table, number = survey.split.mapping.table, len(survey.split.labels)
    result = []
    for record in survey.records:
        solid = {int(table[source]) for source in record.pixels if source not in record.thin}
        classes = {int(table[source]) for source in record.pixels} - solid if inside else solid
        result.append({class_id for class_id in classes if class_id < number})
    return result


def _other_kinds(survey: Survey) -> list[str]:
    """Masks that are files of an exceptional kind, if nearly all others are of one."""
    kinds = Counter(record.kind for record in survey.records)
    if not kinds or not are_exceptions(kinds.total() - kinds.most_common(1)[0][1], kinds.total()):
        return []
    usual = kinds.most_common(1)[0][0]
    return [
        f"{frame.mask} ({record.kind}, not {usual})"
        for frame, record in zip(survey.split.frames, survey.records, strict=True)
        if record.kind != usual
    ]


def are_exceptions(number: int, total: int, most: tuple[int, float] = EXCEPTIONS) -> bool:
    """Whether so few of a split's frames do something, and so many others do not, that it may be a slip.

    most: the number that are exceptions at most, or a share of `total` where that is more.
    """
    return number <= max(most[0], int(most[1] * total)) and total - number >= FEWEST_OTHERS * number
