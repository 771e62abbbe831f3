"""Finds masks with object and background exchanged, by the class of their rim; reads no file."""

from __future__ import annotations

import numpy as np

from training.data.doubts import are_exceptions
from training.data.problems import MOST_NAMED, first_names
from training.data.survey import Survey

# With these, none of 3,348 masks of Pascal VOC and 468 of CamVid is named. Of the former, 2,396 show one class beside the
# background; 83% of these are named if they are inverted alone. The objects of the others touch too much of the rim.
USUAL = 0.9  # share of the other masks whose rim is the background by more than a half
RIM = 0.05  # share of an inverted mask's rim that is background, at most
INSIDE = 0.01  # share of an inverted mask that is background, at least


def inverted_masks(survey: Survey) -> list[str]:
    """A remark on the masks of a split that show one object around the background, if nearly all others do otherwise."""
    counts, rims = survey.class_pixels, survey.rim_pixels
    if not len(counts):
        return []
    shares = rims / np.maximum(1, rims.sum(1, keepdims=True))
    is_usual = shares > 0.5
    background = int(is_usual.sum(0).argmax())
    has_one_object = (counts[:, background] >= INSIDE * counts.sum(1)) & ((counts > 0).sum(1) == 2)
    inverted = np.flatnonzero(has_one_object & rims.any(1) & (shares[:, background] <= RIM)).tolist()
    others = len(counts) - len(inverted)
    if not inverted or not are_exceptions(len(inverted), len(counts)) or is_usual[:, background].sum() < USUAL * others:
        return []
    split, names = survey.split, survey.split.labels.names
    masks = first_names((f"{split.frames[index].mask} ({names[int(rims[index].argmax())]})" for index in inverted), MOST_NAMED)
    return [
        f"{len(inverted)} masks of {split.name!r} seem to be inverted: nearly all others show {names[background]!r} at their "
        f"rim, these show another class there and {names[background]!r} inside: {masks}"
    ]
