"""Masks unlike nearly all others of their split: a class or void that is missing, or much void."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.data.problems import remarks
from training.survey.records import Survey

# With these, two of 3,348 masks of Pascal VOC and one of 468 of CamVid are named. Two of the three lack the ground or the sky.
FEW = (2, 0.05)  # masks that lack what nearly all others have: a number, or a share where that is more
FEWEST_OTHERS = 7  # times as many must have it
LEAST_SHARE, SMALLEST = 0.05, 0.05  # of the pixels: what the class has in all but the smallest twentieth of the masks
# share of void in a mask of much void: at least, and as a multiple of what nine of ten masks have at most. With these, 23 of
# 3,348 masks of Pascal VOC and two of 468 of CamVid are named
MUCH_VOID, TIMES_USUAL = 0.2, 4.0
LEAST_FRAMES = 10  # frames that tell how much void is usual


def outlying_masks(survey: Survey) -> list[str]:
    """Remarks on masks that few others of their split are like, a line for each kind; reads no file."""
    return remarks(
        survey.split.name,
        (_lacking(survey), "masks of {} lack a class that nearly all others show: {}"),
        (_without_void(survey), "masks of {} have no void where nearly all others have some; it may be saved as a class: {}"),
        (_much_void(survey), "masks of {} have far more void than the others, as if objects had no labels yet: {}"),
    )


def _lacking(survey: Survey) -> list[str]:
    """Masks of several classes that lack one which is large in nearly all others."""
    counts, sizes = survey.class_pixels, _sizes(survey)
    outliers = []
    for class_id, name in enumerate(survey.split.labels.names):
        shares = counts[:, class_id] / np.maximum(1, sizes)
        lacking = np.flatnonzero(shares == 0)
        if not _are_few(len(lacking), len(shares)) or np.quantile(shares[shares > 0], SMALLEST) < LEAST_SHARE:
            continue
        outliers += [(int(index), name) for index in lacking if (counts[index] > 0).sum() > 1]
    return [f"{survey.split.frames[index].mask} ({name})" for index, name in sorted(outliers, key=lambda item: item[0])]


def _without_void(survey: Survey) -> list[str]:
    """Masks of several classes without void, if nearly all others have some."""
    classes = len(survey.split.source_labels)
    pairs = zip(survey.split.frames, survey.records, strict=True)
    lacking = [(frame, record) for frame, record in pairs if max(record.pixels) < classes]
    if not _are_few(len(lacking), len(survey.records)):
        return []
    return [str(frame.mask) for frame, record in lacking if len(record.pixels) > 1]


def _much_void(survey: Survey) -> list[str]:
    """Masks with a class whose share of void is far above the others'."""
    if len(survey.records) < LEAST_FRAMES:
        return []
    classes = survey.class_pixels.sum(1)
    shares = 1 - classes / np.maximum(1, _sizes(survey))
    most = max(MUCH_VOID, TIMES_USUAL * float(np.quantile(shares, 0.9)))
    indices = np.flatnonzero((shares > most) & (classes > 0)).tolist()
    return [f"{survey.split.frames[index].mask} ({shares[index]:.0%})" for index in indices]


def _sizes(survey: Survey) -> npt.NDArray[np.int64]:
    """The number of pixels of each mask."""
    return np.array([record.size[0] * record.size[1] for record in survey.records], np.int64)


def _are_few(number: int, total: int) -> bool:
    return 0 < number <= max(FEW[0], int(FEW[1] * total)) and total - number >= FEWEST_OTHERS * number
