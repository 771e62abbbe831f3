"""Finds frames that can be read and may be wrong: odd photos, misplaced masks, and masks that are unlike the others of a split.

Reads no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from common.arrays import Floats, Integers
from training.data.problems import remark
from training.survey.details import FrameDetails
from training.survey.photos import Appearance
from training.survey.records import FrameRecord, Survey

Finding = tuple[int, str]
"""The index of a frame in its split, and what is odd about this frame; an empty text if the text of the remark says it all."""


class Rarity(NamedTuple):
    """The limits within which a property of frames is rare in their split, so that it may be a slip.

    number, share: the most frames with the property, as a number and as a share of all frames; the larger of the two counts.
    others: for each frame with the property, at least so many frames lack it.
    """

    number: int
    share: float
    others: int

    def holds(self, count: int, total: int) -> bool:
        """Whether a property of `count` of `total` frames is rare; false for a property that no frame has."""
        return 0 < count <= max(self.number, int(self.share * total)) and total - count >= self.others * count


SLIP = Rarity(3, 0.1, 3)
SLIP_OF_LINES = Rarity(1, 0.03, 3)  # for masks that show a class by thin lines alone, among all masks that show the class
LEAST_FRAMES = 10  # a split of fewer frames does not tell what is rare, where classes lie, and how much void is usual

# photos
SMALL = 0.1  # a photo with a smaller share of the median photo's pixels may be a thumbnail

# tiles that would fit elsewhere
# a remark needs more than this share of all tiles: in tiles of OSBS's photo, 0.2 would fit elsewhere with polygons in their
# place, and 0.33 to 0.78 with polygons moved by 0.5 to 1.7 m
MOVED_TILES = 0.3

# specks of a class
SPECK = 2e-5  # a smaller share of a mask's pixels is a speck: 4 pixels of 512x384, 15x15 of a photo of 12 megapixels
# a larger share is a speck, too, if it is below both limits: this share, and this part of the usual share of the class
LARGE_SPECK, SPECK_OF_USUAL = 2e-4, 0.01

# masks that lack a class, or void: with these limits, two of 3,348 masks of Pascal VOC and one of 468 of CamVid are named. Two
# of these three lack the ground or the sky
LACK = Rarity(2, 0.05, 7)
LEAST_SHARE = 0.05  # of a mask's pixels: a class is large if nearly all masks that show it show so much of it
SMALLEST = 0.05  # the share of these masks that may show less

# far more void than usual: with these limits, 23 of 3,348 masks of Pascal VOC and two of 468 of CamVid are named
# a mask has far more void than usual if its share of void is above both limits
MUCH_VOID = 0.2
TIMES_USUAL = 4.0  # times the share that nine of ten masks do not exceed

# ids that are one too high, or too low
# other ids must raise the fit (`_fit`) of a mask by so much; if the fit is then still below the usual fit, the rise counts less
# by the difference
LEAST_GAIN = 1.5
POOREST = 0.05  # share of a split's masks that have less than the usual fit

# inverted masks: with these limits, none of 3,348 masks of Pascal VOC and 468 of CamVid is named. 2,396 masks of Pascal VOC
# show one class beside the background. If one of these is inverted, and no other mask, it is named in 83% of the cases. In the
# other cases, the object touches too much of the rim
USUAL = 0.9  # least share of the masks that are not inverted whose rims are background for the most part
USUAL_SHARE = 0.5  # of a rim's pixels; a rim with a larger share of background is so for the most part
RIM = 0.05  # largest share of background in the rim of an inverted mask
INSIDE = 0.01  # least share of background in an inverted mask


def remarks(
    survey: Survey, part: Literal["masks", "images"], kinds: Iterable[tuple[Sequence[Finding], str]], left_out: Collection[int]
) -> list[str]:
    """A line for each kind of remark with findings: the number of findings, the text of the kind, and the first files.

    part: the files to name. left_out: the indices of frames whose findings are left out, such as tiles: of some kinds, a tile
    has findings only because it was cut from a scene.
    """
    paths = [frame.mask if part == "masks" else frame.image for frame in survey.split.frames]
    lines = []
    for findings, text in kinds:
        texts = [f"{paths[index]}{f' ({what})' if what else ''}" for index, what in findings if index not in left_out]
        lines += remark(texts, f"{part} of {survey.split.name!r} {text}")
    return lines


def doubtful_labels(survey: Survey, swaps: Collection[Path] = ()) -> list[str]:
    """Remarks on a split's masks. swaps: the masks of `swapped_masks`, which get no second remark that they lie wrongly."""
    frames, counts = survey.split.frames, survey.class_pixels
    places = [each for each in _of_details(survey, lambda details: details.better_place) if frames[each[0]].mask not in swaps]
    only_void = [(int(index), "") for index in np.flatnonzero(~counts.any(1))]
    others = "are files of another kind than the others, so their values may mean other classes"
    of_photos = [
        (places, "do not fit their image as they lie; their borders would lie on its edges if they were"),
        (_single_classes(survey), "show one class alone, as if objects had been left out"),
        (_threads(survey), "show a class by thin lines alone, as scaling or JPEG leaves between others"),
    ]
    of_all = [
        (only_void, "hold no class, only void"),
        (_specks(survey), "show a class by a speck alone, as by a slip"),
        (_other_kinds(survey), others),
    ]
    tiles = survey.tiles
    moved = [(index, "") for index, place in places if index in tiles and place == "moved"]
    if len(tiles) >= LEAST_FRAMES and len(moved) > MOVED_TILES * len(tiles):
        of_all += [(moved, "would fit their tile better elsewhere, as if the polygons lay beside the scene; see them in a GIS")]
    return [*remarks(survey, "masks", of_photos, tiles), *remarks(survey, "masks", of_all, ())]


def odd_photos(survey: Survey) -> list[str]:
    """Remarks on a split's photos."""

    def photos_of(appearance: Appearance) -> list[Finding]:
        return _of_records(survey, lambda record: "" if record.appearance == appearance else None)

    cmyk = _of_records(survey, lambda record: "" if record.is_cmyk else None)
    cut_off = "are black or grey in their lower part, as a file that ended too early is when it is saved again"
    without_profile = "are CMYK, and are read without their colour profile, so their colours differ from what viewers show"
    kinds = [
        (photos_of("one colour"), "are of one colour, as a shot of nothing is, so their labels teach nothing"),
        (photos_of("cut off"), cut_off),
        (_small(survey), "have less than a tenth of the pixels that the median image has, as a thumbnail has"),
        (if_exceptions(photos_of("grey"), survey), "are grey, nearly all others are not"),
        (cmyk, f"{without_profile}; save them as RGB"),
        (_of_records(survey, lambda record: record.remark or None), "may lie otherwise than they are read"),
    ]
    return remarks(survey, "images", kinds, survey.tiles)


def _of_records(survey: Survey, tell: Callable[[FrameRecord], str | None]) -> list[Finding]:
    """The findings of each record alone. tell: returns what is odd; None for a frame that is not odd."""
    return [(index, text) for index, record in enumerate(survey.records) if (text := tell(record)) is not None]


def _of_details(survey: Survey, tell: Callable[[FrameDetails], str | None]) -> list[Finding]:
    """As `_of_records`, of a frame's details; no findings in a survey of one layer, which has no details."""
    return _of_records(survey, lambda record: tell(record.details) if record.details else None)


def if_exceptions(findings: list[Finding], survey: Survey) -> list[Finding]:
    """The findings, if they are rare in their split; else none."""
    return findings if SLIP.holds(len(findings), len(survey.records)) else []


def _without(findings: list[Finding], others: Iterable[Finding]) -> list[Finding]:
    """The findings, without those of the frames of other findings."""
    frames = {index for index, _ in others}
    return [each for each in findings if each[0] not in frames]


def _small(survey: Survey) -> list[Finding]:
    """Photos of far fewer pixels than the median, with their width and height, if they are rare."""
    areas = survey.areas
    small = np.flatnonzero(areas < SMALL * np.median(areas)).tolist() if len(areas) else []
    sizes = [survey.records[index].size for index in small]
    return if_exceptions([(at, f"{width}x{height}") for at, (height, width) in zip(small, sizes, strict=True)], survey)


def _single_classes(survey: Survey) -> list[Finding]:
    """Masks that show nothing but one class and void, if they are rare."""
    has_class, names = survey.class_pixels > 0, survey.split.labels.names
    single = np.flatnonzero(has_class.sum(1) == 1).tolist()
    return if_exceptions([(index, names[int(has_class[index].argmax())]) for index in single], survey)


def _specks(survey: Survey) -> list[Finding]:
    """Masks with few pixels of a class: a small share of the mask's pixels, or of those that other masks show of the class.

    A speck in a tile counts only if nothing may have cut it: the class is not in the tile's rim, and the tile has no void.
    """
    counts, specks = survey.class_pixels, []
    tiles, may_be_cut = survey.tiles, (survey.rim_pixels > 0) | (counts.sum(1) < survey.areas)[:, None]
    for index, name in enumerate(survey.split.labels.names):
        shares = counts[:, index] / np.maximum(1, survey.areas)
        usual = float(np.median(shares[shares > 0])) if shares.any() else 0.0
        limit = max(SPECK, min(LARGE_SPECK, usual * SPECK_OF_USUAL))
        frames = np.flatnonzero((shares > 0) & (shares < limit)).tolist()
        whole = [frame for frame in frames if frame not in tiles or not may_be_cut[frame, index]]
        specks += [(frame, f"{name}, {counts[frame, index]} pixels") for frame in whole]
    return sorted(specks)


def _threads(survey: Survey) -> list[Finding]:
    """Masks in which a class is thin everywhere, if such masks are rare among those that show the class."""
    table, names, counts = survey.split.mapping.table, survey.split.labels.names, survey.class_pixels
    thin = []  # the classes of each frame that are thin everywhere
    for record, row in zip(survey.records, counts, strict=True):
        thin_sources = record.details.thin if record.details else ()
        solid = {int(table[source]) for source in record.pixels if source not in thin_sources}
        thin.append(set(np.flatnonzero(row).tolist()) - solid)
    totals = Counter(class_id for classes in thin for class_id in classes)
    return [
        (frame, f"{names[class_id]}, {counts[frame, class_id]} pixels")
        for frame, classes in enumerate(thin)
        for class_id in sorted(classes)
        if SLIP_OF_LINES.holds(totals[class_id], int((counts[:, class_id] > 0).sum()))
    ]


def _other_kinds(survey: Survey) -> list[Finding]:
    """Masks that are files of another kind than most, if they are rare."""
    usual = next(iter(Counter(record.kind for record in survey.records).most_common(1)), ("", 0))[0]
    others = _of_records(survey, lambda record: f"{record.kind}, not {usual}" if record.kind != usual else None)
    return if_exceptions(others, survey)


def outlying_masks(survey: Survey) -> list[str]:
    """Remarks on masks that are unlike the others of their split. In a survey of one layer, on their classes and void alone."""
    inversions, inversions_text = _inverted(survey)
    other_ids = _misnumbered(survey, inversions)
    blocks = _of_details(survey, lambda details: f"blocks of {details.block_side} pixels" if details.block_side else None)
    parts = _of_details(survey, lambda details: details.unlabelled_part)
    kinds = [
        (other_ids, "fit the others only with other ids: those show the classes where these would have them then"),
        (_without(_lacking(survey), other_ids), "lack a class that nearly all others show"),
        (_without_void(survey), "have no void where nearly all others have some; it may be saved as a class"),
        (_without(_much_void(survey), other_ids), "have far more void than the others, as if objects had no labels yet"),
        (if_exceptions(blocks, survey), "consist of blocks, as if drawn on a smaller photo"),
        (if_exceptions(parts, survey), "end at a straight border, as if a part of the photo had no labels"),
        (inversions, inversions_text),
    ]
    return remarks(survey, "masks", kinds, survey.tiles)


def _misnumbered(survey: Survey, inversions: list[Finding]) -> list[Finding]:
    """Masks whose classes would lie where the others have them if all ids were one lower, or one higher.

    Masks of one class and `inversions` are left out. With fewer than three classes there are no findings: shifted ids of two
    classes are an inverted mask.
    """
    cells = [record.details.grid_ids for record in survey.records if record.details]
    classes = len(survey.split.source_labels)
    if len(cells) < max(LEAST_FRAMES, len(survey.records)) or classes < 3:
        return []
    grids = np.frombuffer(b"".join(cells), np.uint8).reshape(len(cells), -1).astype(np.int64)
    has_several = (survey.class_pixels > 0).sum(1) > 1
    own = _fit(grids, classes, 0)
    usual = float(np.quantile(own, POOREST))
    findings: list[Finding] = []
    for shift, text in ((-1, "one too high"), (1, "one too low")):
        fit = _fit(grids, classes, shift)
        gains = fit - own + np.minimum(0, fit - usual)
        findings += [(index, f"ids {text}") for index in np.flatnonzero((gains > LEAST_GAIN) & has_several).tolist()]
    return if_exceptions(sorted(_without(findings, inversions)), survey)


def _fit(grids: Integers, classes: int, shift: int) -> Floats:
    """How well each mask fits the others if `shift` is added to its ids, float64 (n,).

    For each cell, the share of the other masks that show the shifted id there; the mean of the shares' logarithms. grids: ids
    (n, cells); ids of no class are void, which does not count. The class after the last one is the first.
    """
    counts = np.stack([(grids == class_id).sum(0) for class_id in range(classes)])
    is_class = grids < classes
    others = np.take_along_axis(counts, (grids + shift) % classes, 0) - (shift == 0)
    shares = (others + 0.5) / (np.maximum(1, counts.sum(0)) - 1 + 0.5 * classes)
    logarithms = np.log(shares, where=is_class, out=np.zeros(shares.shape))
    fit: Floats = logarithms.sum(1) / np.maximum(1, is_class.sum(1))
    return fit


def _lacking(survey: Survey) -> list[Finding]:
    """Masks of several classes that lack a class, if it is large in nearly all others."""
    counts = survey.class_pixels
    findings: list[Finding] = []
    for class_id, name in enumerate(survey.split.labels.names):
        shares = counts[:, class_id] / np.maximum(1, survey.areas)
        indices = np.flatnonzero(shares == 0)
        if LACK.holds(len(indices), len(shares)) and np.quantile(shares[shares > 0], SMALLEST) >= LEAST_SHARE:
            findings += [(int(index), name) for index in indices if (counts[index] > 0).sum() > 1]
    return sorted(findings)


def _without_void(survey: Survey) -> list[Finding]:
    """Masks of several classes without void, if nearly all others have some."""
    classes = len(survey.split.source_labels)
    records = [(index, record) for index, record in enumerate(survey.records) if max(record.pixels) < classes]
    several = [(index, "") for index, record in records if len(record.pixels) > 1]
    return several if LACK.holds(len(records), len(survey.records)) else []


def _much_void(survey: Survey) -> list[Finding]:
    """Masks that show a class and far more void than the others. Masks with an `unlabelled_part` are left out."""
    if len(survey.records) < LEAST_FRAMES:
        return []
    labelled_pixels = survey.class_pixels.sum(1)
    shares = 1 - labelled_pixels / np.maximum(1, survey.areas)
    limit = max(MUCH_VOID, TIMES_USUAL * float(np.quantile(shares, 0.9)))
    findings = [(index, f"{shares[index]:.0%}") for index in np.flatnonzero((shares > limit) & (labelled_pixels > 0)).tolist()]
    return _without(findings, _of_details(survey, lambda details: details.unlabelled_part))


def _inverted(survey: Survey) -> tuple[list[Finding], str]:
    """Masks with one class around the background, if nearly all others have the background at their rim; and the remark."""
    counts, rims, names = survey.class_pixels, survey.rim_pixels, survey.split.labels.names
    shares = rims / np.maximum(1, rims.sum(1, keepdims=True))  # of the classes in the rim of each mask (frames, classes)
    usual = (shares > USUAL_SHARE).sum(0)
    background = int(usual.argmax())
    has_one_object = (counts[:, background] >= INSIDE * counts.sum(1)) & ((counts > 0).sum(1) == 2)
    indices = np.flatnonzero(has_one_object & shares.any(1) & (shares[:, background] <= RIM)).tolist()
    if not SLIP.holds(len(indices), len(counts)) or usual[background] < USUAL * (len(counts) - len(indices)):
        return [], ""
    name = repr(names[background])
    text = f"seem to be inverted: nearly all others show {name} at their rim, these show another class there and {name} inside"
    return [(index, names[int(rims[index].argmax())]) for index in indices], text
