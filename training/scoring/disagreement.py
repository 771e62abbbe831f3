"""Finds labels that a network disagrees with: each frame's largest region where it is sure of another class than the label.

Such a region is a mistake of the label, or one of the network. Near borders both are uncertain, so a thin strip along each
border of label and prediction does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Ids, Mask
from imaging.classes import VOID
from imaging.regions import Regions
from imaging.runs import column_runs
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from training.data.network_classes import NetworkClasses
from training.data.split import Split
from training.scoring.boundaries import near_border
from training.scoring.evaluate import served_frames

STRIP = 0.01  # of the diagonal: as far from a border, pixels count
LEAST = 0.5  # confidence of a pixel that counts at least


@dataclass(frozen=True)
class Disagreement:
    """The region of one frame in which a network is most at odds with the label.

    index: the frame's in its split. label, prediction: class ids. box: (left, top, right, bottom) in pixels of the frame,
    right and bottom outside. share: of the frame's pixels. confidence: the network's mean in the region, 0 to 1. weight: share
    x confidence, by which frames are sorted. differing: share of the frame's labelled pixels with another class than the label,
    in all of the frame.
    """

    index: int
    label: int
    prediction: int
    box: tuple[int, int, int, int]
    share: float
    confidence: float
    weight: float
    differing: float


def disagreements(
    segmenter: Segmenter, split: Split, indices: Sequence[int], classes: NetworkClasses
) -> Iterator[Disagreement]:
    """The disagreement of each of these frames that has one, in the order of `indices`; runs the network once for each.

    classes: as what the network's count. Raises `DataError`, naming the file, for an image that cannot be decoded and one of
    another size than its mask.
    """
    for index, mask, plan, pixels in served_frames(segmenter, split, Options(), indices):
        label = np.where(mask < len(split.labels), mask, VOID).astype(np.uint8)
        ids, confidence = np.empty(label.shape, np.uint8), np.empty(label.shape, np.uint8)
        for rows in segmenter.rows(pixels, plan):
            at = rows.pixel_rows
            ids[at] = rows.class_ids_and_confidence(segmenter.temperature, confidence[at]).ids
        if (region := largest_region(index, label, classes(ids), confidence)) is not None:
            yield region


def largest_region(index: int, label: Ids, prediction: Ids, confidence: Ids) -> Disagreement | None:
    """The connected region of one label and one other predicted class that weighs most; None if there is none.

    label, prediction: class ids (H, W), `VOID` where the label is none. confidence: round(255 x probability)
    of the prediction (H, W).
    """
    is_labelled = label < VOID
    differs = is_labelled & (label != prediction)
    counts = differs & (confidence >= LEAST * 255) & ~_near_border(label) & ~_near_border(prediction)
    pixels = np.flatnonzero(counts)
    if not len(pixels):
        return None
    pairs, numbers = np.unique(label.ravel()[pixels].astype(np.int64) * 256 + prediction.ravel()[pixels], return_inverse=True)
    common = np.argsort(-np.bincount(numbers), kind="stable")[:VOID]  # a map of pairs has 8 bits
    numbers_of_pairs = np.full(len(pairs), VOID, np.int64)
    numbers_of_pairs[common] = np.arange(len(common))
    pair_map = np.full(label.shape, VOID, np.uint8)
    pair_map.ravel()[pixels] = numbers_of_pairs[numbers]
    regions = Regions(column_runs(pair_map), range(len(common)))
    sums = regions.totals(confidence)
    best = int(sums.argmax())
    inside = pixels[regions.at(pixels) == best]
    rows, columns = np.divmod(inside, label.shape[1])
    return Disagreement(
        index=index,
        label=int(label.ravel()[inside[0]]),
        prediction=int(prediction.ravel()[inside[0]]),
        box=(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1),
        share=len(inside) / label.size,
        confidence=float(sums[best]) / 255 / len(inside),
        weight=float(sums[best]) / 255 / label.size,
        differing=float(differs.sum() / is_labelled.sum()),
    )


def _near_border(ids: Ids) -> Mask:
    """Whether a pixel (H, W) lies within the strip along a border between two ids, void among them."""
    return near_border(ids.astype(np.int64), max(1, round(STRIP * float(np.hypot(*ids.shape)))) + 1)
