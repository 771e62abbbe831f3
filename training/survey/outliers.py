"""Masks unlike nearly all others of their split: other ids, a class or void that is missing, much void, blocks, parts.

Also masks with object and background exchanged, by the class of their rim. Reads no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.data.problems import MOST_NAMED, first_names
from training.survey.doubts import are_exceptions
from training.survey.drawing import unpack_grids
from training.survey.records import Survey

# With these, two of 3,348 masks of Pascal VOC and one of 468 of CamVid are named. Two of the three lack the ground or the sky.
FEW = (2, 0.05)  # masks that lack what nearly all others have: a number, or a share where that is more
FEWEST_OTHERS = 7  # times as many must have it
LEAST_SHARE, SMALLEST = 0.05, 0.05  # share of the pixels that a class has at least, but for this share of its masks
# share of void in a mask of much void: at least, and as a multiple of what nine of ten masks have at most. With these, 23 of
# 3,348 masks of Pascal VOC and two of 468 of CamVid are named
MUCH_VOID, TIMES_USUAL = 0.2, 4.0
LEAST_FRAMES = 10  # frames that tell where classes lie
# rise of a mask's fit (`_fit`) by other ids, less by how much it then fits worse than a usual mask
LEAST_GAIN = 1.5
POOREST = 0.05  # share of a split's masks that fit worse than usual
# With these, none of 3,348 masks of Pascal VOC and 468 of CamVid is named. Of the former, 2,396 show one class beside the
# background; 83% of these are named if they are inverted alone. The objects of the others touch too much of the rim.
USUAL, USUAL_SHARE = 0.9, 0.5  # share of the other masks that must have more than this share of background in their rim
RIM = 0.05  # share of an inverted mask's rim that is background, at most
INSIDE = 0.01  # share of an inverted mask that is background, at least


def outlying_masks(survey: Survey) -> list[str]:
    """Remarks on masks that few others of their split are like, a line for each kind; reads no file.

    If the survey has read no pixels, the remarks are on classes and void alone.
    """
    other_ids, records = _misnumbered(survey), survey.records
    other_id_frames = {item.index for item in other_ids}
    kinds = [
        (
            other_ids,
            "masks of {} fit the others only with other ids: those show the classes where these would have them then: {}",
        ),
        (
            [item for item in _lacking(survey) if item.index not in other_id_frames],
            "masks of {} lack a class that nearly all others show: {}",
        ),
        (_without_void(survey), "masks of {} have no void where nearly all others have some; it may be saved as a class: {}"),
        (
            [item for item in _much_void(survey) if item.index not in other_id_frames],
            "masks of {} have far more void than the others, as if objects had no labels yet: {}",
        ),
        (
            _if_exceptions([f"blocks of {record.block_side} pixels" if record.block_side else "" for record in records]),
            "masks of {} consist of blocks, as if drawn on a smaller photo: {}",
        ),
        (
            _if_exceptions([record.unlabelled_part or "" for record in records]),
            "masks of {} end at a straight border, as if a part of the photo had no labels: {}",
        ),
    ]
    frames, name = survey.split.frames, survey.split.name
    lines = []
    for outliers, text in kinds:
        masks = [f"{frames[item.index].mask}{f' ({item.text})' if item.text else ''}" for item in outliers]
        if masks:
            lines.append(f"{len(masks)} {text.format(repr(name), first_names(masks, MOST_NAMED))}")
    return lines


@dataclass(frozen=True)
class _Outlier:
    """The index of a mask in its split, and what is odd about it."""

    index: int
    text: str = ""


def _if_exceptions(texts: Sequence[str]) -> list[_Outlier]:
    """The masks with a text, if they are exceptions."""
    outliers = [_Outlier(index, text) for index, text in enumerate(texts) if text]
    return outliers if are_exceptions(len(outliers), len(texts)) else []


def _misnumbered(survey: Survey) -> list[_Outlier]:
    """Masks whose classes would lie where they lie in the others if all ids were one lower, or one higher.

    Without masks of one class and inverted masks, and not for two classes, where shifted ids are inverted ones.
    """
    texts = [record.grid_ids for record in survey.records if record.grid_ids is not None]
    classes = len(survey.split.source_labels)
    if len(texts) < max(LEAST_FRAMES, len(survey.records)) or classes < 3:
        return []
    grids = unpack_grids(texts)
    named_otherwise = {*inverted_masks(survey), *np.flatnonzero((survey.class_pixels > 0).sum(1) < 2).tolist()}
    own = _fit(grids, classes, 0)
    usual = float(np.quantile(own, POOREST))
    outliers = []
    for shift, text in ((-1, "one too high"), (1, "one too low")):
        fit = _fit(grids, classes, shift)
        gains = fit - own + np.minimum(0, fit - usual)
        indices = set(np.flatnonzero(gains > LEAST_GAIN).tolist()) - named_otherwise
        outliers += [_Outlier(index, f"ids {text}") for index in indices]
    return sorted(outliers, key=lambda item: item.index) if are_exceptions(len(outliers), len(texts)) else []


def _fit(grids: npt.NDArray[np.int64], classes: int, shift: int) -> npt.NDArray[np.float64]:
    """For each mask, the mean logarithm of the share of the other masks that show a cell's id plus `shift` in that cell.

    grids: ids (n, cells); ids of no class are void, which does not count. The class after the last one is the first.
    """
    counts = np.stack([(grids == class_id).sum(0) for class_id in range(classes)])
    is_class = grids < classes
    others = np.take_along_axis(counts, (grids + shift) % classes, 0) - (shift == 0)
    shares = (others + 0.5) / (np.maximum(1, counts.sum(0)) - 1 + 0.5 * classes)
    logarithms = np.log(shares, where=is_class, out=np.zeros(shares.shape))
    fit: npt.NDArray[np.float64] = logarithms.sum(1) / np.maximum(1, is_class.sum(1))
    return fit


def _lacking(survey: Survey) -> list[_Outlier]:
    """Masks of several classes that lack one which is large in nearly all others."""
    counts, names = survey.class_pixels, survey.split.labels.names
    sizes = np.array([record.size[0] * record.size[1] for record in survey.records])
    outliers = []
    for class_id, name in enumerate(names):
        shares = counts[:, class_id] / np.maximum(1, sizes)
        lacking = np.flatnonzero(shares == 0)
        if not _are_few(len(lacking), len(shares)) or np.quantile(shares[shares > 0], SMALLEST) < LEAST_SHARE:
            continue
        outliers += [_Outlier(int(index), name) for index in lacking if (counts[index] > 0).sum() > 1]
    return sorted(outliers, key=lambda item: item.index)


def _without_void(survey: Survey) -> list[_Outlier]:
    """Masks of several classes without void, if nearly all others have some."""
    classes = len(survey.split.source_labels)
    lacking = [index for index, record in enumerate(survey.records) if max(record.pixels) < classes]
    several = [index for index in lacking if len(survey.records[index].pixels) > 1]
    return [_Outlier(index) for index in several] if _are_few(len(lacking), len(survey.records)) else []


def _much_void(survey: Survey) -> list[_Outlier]:
    """Masks that show a class, with far more void than the others, without those that have an `unlabelled_part`."""
    records = survey.records
    if len(records) < LEAST_FRAMES:
        return []
    sizes = np.array([record.size[0] * record.size[1] for record in records])
    classes = survey.class_pixels.sum(1)
    shares = 1 - classes / np.maximum(1, sizes)
    most = max(MUCH_VOID, TIMES_USUAL * float(np.quantile(shares, 0.9)))
    return [
        _Outlier(int(index), f"{shares[index]:.0%}")
        for index in np.flatnonzero((shares > most) & (classes > 0))
        if not records[index].unlabelled_part
    ]


def _are_few(number: int, total: int) -> bool:
    return 0 < number <= max(FEW[0], int(FEW[1] * total)) and total - number >= FEWEST_OTHERS * number


def inverted_note(survey: Survey) -> list[str]:
    """A remark on the masks of `inverted_masks`, if there are any."""
    indices, rims = inverted_masks(survey), survey.rim_pixels
    if not indices:
        return []
    split, names = survey.split, survey.split.labels.names
    background = names[_usual_rim(survey)]
    masks = first_names((f"{split.frames[index].mask} ({names[int(rims[index].argmax())]})" for index in indices), MOST_NAMED)
    return [
        f"{len(indices)} masks of {split.name!r} seem to be inverted: nearly all others show {background!r} at their "
        f"rim, these show another class there and {background!r} inside: {masks}"
    ]


def inverted_masks(survey: Survey) -> list[int]:
    """The indices of masks with one object around the background, if nearly all others have the background at their rim."""
    counts, shares = survey.class_pixels, _rim_shares(survey)
    if not len(counts):
        return []
    background = _usual_rim(survey)
    has_one_object = (counts[:, background] >= INSIDE * counts.sum(1)) & ((counts > 0).sum(1) == 2)
    indices: list[int] = np.flatnonzero(has_one_object & shares.any(1) & (shares[:, background] <= RIM)).tolist()
    usual = (shares[:, background] > USUAL_SHARE).sum()
    is_told = are_exceptions(len(indices), len(counts)) and usual >= USUAL * (len(counts) - len(indices))
    return indices if is_told else []


def _usual_rim(survey: Survey) -> int:
    """The class that most masks have at their rim."""
    return int((_rim_shares(survey) > USUAL_SHARE).sum(0).argmax())


def _rim_shares(survey: Survey) -> npt.NDArray[np.float64]:
    """The share of each class in the rim of each mask, float64 (frames, classes)."""
    rims = survey.rim_pixels
    shares: npt.NDArray[np.float64] = rims / np.maximum(1, rims.sum(1, keepdims=True))
    return shares
