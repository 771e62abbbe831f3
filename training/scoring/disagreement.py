"""Finds labels that a network disagrees with: each frame's largest region where it is sure of another class than the label.

Such a region is a mistake of the label, or one of the network. Near borders both are uncertain, so a thin strip along each
border of label and prediction does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from tqdm import tqdm

from imaging.classes import VOID
from imaging.errors import ImageError
from model.inference.segmenter import Options, Segmenter
from training.data.class_mapping import ClassMapping, identity_mapping
from training.data.problems import DataError
from training.data.split import Split

ClassMap = npt.NDArray[np.uint8]
STRIP = 0.01  # of the diagonal: as far from a border, pixels count
LEAST = 0.5  # confidence of a pixel that counts at least


@dataclass(frozen=True)
class Disagreement:
    """The region of one frame in which a network is most at odds with the label.

    index: the frame's in its split. label, predicted: class ids. box: (left, top, right, bottom) in pixels of the frame,
    right and bottom outside. share: of the frame's pixels. confidence: the network's mean in the region, 0 to 1. weight: share
    x confidence, by which frames are sorted. differing: share of the frame's labelled pixels with another class than the label,
    in all of the frame.
    """

    index: int
    label: int
    predicted: int
    box: tuple[int, int, int, int]
    share: float
    confidence: float
    weight: float
    differing: float


def disagreements(
    segmenter: Segmenter, split: Split, indices: Sequence[int], mapping: ClassMapping | None = None
) -> Iterator[Disagreement]:
    """The disagreement of each of these frames that has one, in the order of `indices`; runs the network once for each.

    mapping: from the network's classes to the split's. Raises `DataError`, naming the file, for an image that cannot be
    decoded and one of another size than its mask.
    """
    mapped = mapping or identity_mapping(segmenter.manifest.labels)
    for index in tqdm(indices, desc="comparing labels", unit="frame", leave=False):
        data, label = split.file(index), split.mask(index)
        try:
            plan = segmenter.plan(data, Options())
            image = segmenter.decode(data, plan)
        except ImageError as error:
            raise DataError(f"{split.frames[index].image}: {error}") from error
        split.require_one_size(index, label, plan.size)
        ids, confidence = np.empty(plan.size, np.uint8), np.empty(plan.size, np.uint8)
        for rows in segmenter.rows(image, plan):
            part = slice(rows.top, rows.top + len(rows.vertical.before))
            ids[part] = rows.class_ids_and_confidence(segmenter.temperature, confidence[part])
        if (region := largest_region(index, label, mapped(ids), confidence)) is not None:
            yield region


def largest_region(index: int, label: ClassMap, predicted: ClassMap, confidence: ClassMap) -> Disagreement | None:
    """The connected region of one label and one other predicted class that weighs most; None if there is none.

    label, predicted: class ids (H, W). confidence: round(255 x probability) of the prediction (H, W).
    """
    labelled = label < VOID
    differs = labelled & (label != predicted)
    counted = differs & (confidence >= LEAST * 255) & ~_near_borders(label) & ~_near_borders(predicted)
    pairs = np.where(counted, label.astype(np.int32) * 256 + predicted + 1, 0)
    best: tuple[float, int, int, tuple[slice, slice]] | None = None
    for pair in np.unique(pairs[pairs > 0]).tolist():
        regions, number = ndimage.label(pairs == pair)
        sums = ndimage.sum_labels(confidence, regions, np.arange(1, number + 1))
        first = int(np.argmax(sums))
        if best is None or sums[first] > best[0]:
            box = ndimage.find_objects(regions)[first]
            best = float(sums[first]), pair, int((regions == first + 1).sum()), box
    if best is None:
        return None
    total, pair, pixels, (rows, columns) = best
    return Disagreement(
        index=index,
        label=(pair - 1) // 256,
        predicted=(pair - 1) % 256,
        box=(columns.start, rows.start, columns.stop, rows.stop),
        share=pixels / label.size,
        confidence=total / 255 / pixels,
        weight=total / 255 / label.size,
        differing=float(differs.sum() / max(1, labelled.sum())),
    )


def _near_borders(ids: ClassMap) -> npt.NDArray[np.bool_]:
    """Whether a pixel (H, W) lies within the strip along a border between two ids."""
    reach = 2 * max(1, round(STRIP * float(np.hypot(*ids.shape)))) + 1
    lowest, highest = ndimage.minimum_filter(ids, reach), ndimage.maximum_filter(ids, reach)
    return np.asarray(lowest != highest)
