"""Finds masks with object and background exchanged, by the class of their rim; reads no file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.data.problems import MOST_NAMED, first_names
from training.survey.doubts import are_exceptions
from training.survey.records import Survey

# With these, none of 3,348 masks of Pascal VOC and 468 of CamVid is named. Of the former, 2,396 show one class beside the
# background; 83% of these are named if they are inverted alone. The objects of the others touch too much of the rim.
USUAL, USUAL_SHARE = 0.9, 0.5  # share of the other masks that must have more than this share of background in their rim
RIM = 0.05  # share of an inverted mask's rim that is background, at most
INSIDE = 0.01  # share of an inverted mask that is background, at least


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
