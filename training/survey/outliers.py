"""Masks unlike nearly all others of their split: other ids, a class or void that is missing, much void, blocks, parts.

Also masks with object and background exchanged, by the class of their rim. Reads no file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.survey.doubts import Finding, are_exceptions, if_exceptions, remarks
from training.survey.records import Survey
from training.survey.shapes import unpack_grids

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
    """Remarks on masks that few others of their split are like.

    If the survey has read no pixels, the remarks are on classes, void and inverted masks alone.
    """
    records = survey.records
    inverted, inverted_text = _inverted(survey)
    other_ids = _misnumbered(survey, [index for index, _ in inverted])
    numbered = {index for index, _ in other_ids}
    blocks = [(index, f"blocks of {record.block_side} pixels") for index, record in enumerate(records) if record.block_side]
    parts = [(index, record.unlabelled_part) for index, record in enumerate(records) if record.unlabelled_part]
    kinds = [
        (other_ids, "fit the others only with other ids: those show the classes where these would have them then"),
        ([each for each in _lacking(survey) if each[0] not in numbered], "lack a class that nearly all others show"),
        (_without_void(survey), "have no void where nearly all others have some; it may be saved as a class"),
        (
            [each for each in _much_void(survey) if each[0] not in numbered],
            "have far more void than the others, as if objects had no labels yet",
        ),
        (if_exceptions(blocks, survey), "consist of blocks, as if drawn on a smaller photo"),
        (if_exceptions(parts, survey), "end at a straight border, as if a part of the photo had no labels"),
        (inverted, inverted_text),
    ]
    return remarks(survey, "masks", kinds)


def _misnumbered(survey: Survey, inverted: list[int]) -> list[Finding]:
    """Masks whose classes would lie where they lie in the others if all ids were one lower, or one higher.

    Without masks of one class and inverted masks, and not for two classes, where shifted ids are inverted ones.
    """
    texts = [record.grid_ids for record in survey.records if record.grid_ids is not None]
    classes = len(survey.split.source_labels)
    if len(texts) < max(LEAST_FRAMES, len(survey.records)) or classes < 3:
        return []
    grids = unpack_grids(texts)
    named_otherwise = {*inverted, *np.flatnonzero((survey.class_pixels > 0).sum(1) < 2).tolist()}
    own = _fit(grids, classes, 0)
    usual = float(np.quantile(own, POOREST))
    findings: list[Finding] = []
    for shift, text in ((-1, "one too high"), (1, "one too low")):
        fit = _fit(grids, classes, shift)
        gains = fit - own + np.minimum(0, fit - usual)
        findings += [(index, f"ids {text}") for index in set(np.flatnonzero(gains > LEAST_GAIN).tolist()) - named_otherwise]
    return if_exceptions(sorted(findings), survey)


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


def _lacking(survey: Survey) -> list[Finding]:
    """Masks of several classes that lack one which is large in nearly all others."""
    counts = survey.class_pixels
    findings: list[Finding] = []
    for class_id, name in enumerate(survey.split.labels.names):
        shares = counts[:, class_id] / np.maximum(1, survey.areas)
        lacking = np.flatnonzero(shares == 0)
        if _are_few(len(lacking), len(shares)) and np.quantile(shares[shares > 0], SMALLEST) >= LEAST_SHARE:
            findings += [(int(index), name) for index in lacking if (counts[index] > 0).sum() > 1]
    return sorted(findings)


def _without_void(survey: Survey) -> list[Finding]:
    """Masks of several classes without void, if nearly all others have some."""
    classes = len(survey.split.source_labels)
    lacking = [(index, record) for index, record in enumerate(survey.records) if max(record.pixels) < classes]
    several = [(index, "") for index, record in lacking if len(record.pixels) > 1]
    return several if _are_few(len(lacking), len(survey.records)) else []


def _much_void(survey: Survey) -> list[Finding]:
    """Masks that show a class, with far more void than the others, without those that have an `unlabelled_part`."""
    if len(survey.records) < LEAST_FRAMES:
        return []
    classes = survey.class_pixels.sum(1)
    shares = 1 - classes / np.maximum(1, survey.areas)
    most = max(MUCH_VOID, TIMES_USUAL * float(np.quantile(shares, 0.9)))
    findings = [(index, f"{shares[index]:.0%}") for index in np.flatnonzero((shares > most) & (classes > 0)).tolist()]
    return [each for each in findings if not survey.records[each[0]].unlabelled_part]


def _are_few(number: int, total: int) -> bool:
    return number > 0 and are_exceptions(number, total, FEW, FEWEST_OTHERS)


def _inverted(survey: Survey) -> tuple[list[Finding], str]:
    """Masks with one object around the background, if nearly all others have the background at their rim; and the remark."""
    counts, rims, names = survey.class_pixels, survey.rim_pixels, survey.split.labels.names
    shares = rims / np.maximum(1, rims.sum(1, keepdims=True))  # of each class in the rim of each mask (frames, classes)
    usual = (shares > USUAL_SHARE).sum(0)
    background = int(usual.argmax())
    has_one_object = (counts[:, background] >= INSIDE * counts.sum(1)) & ((counts > 0).sum(1) == 2)
    indices = np.flatnonzero(has_one_object & shares.any(1) & (shares[:, background] <= RIM)).tolist()
    if not are_exceptions(len(indices), len(counts)) or usual[background] < USUAL * (len(counts) - len(indices)):
        return [], ""
    text = (
        f"seem to be inverted: nearly all others show {names[background]!r} at their rim, these show another class there and "
        f"{names[background]!r} inside"
    )
    return [(index, names[int(rims[index].argmax())]) for index in indices], text
