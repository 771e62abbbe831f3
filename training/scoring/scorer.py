"""Measures a network's scores and temperature on a split, as text, as JSON and as a weights file stores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import Any

from model.inference.segmenter import Options, Segmenter
from model.labels import LabelSet
from training.data.class_mapping import ClassMapping
from training.data.split import Split
from training.reporting.recording import Measured, RecordedCalibration
from training.scoring.boundaries import FRACTION, BoundaryIoU
from training.scoring.calibration import Sample, calibrate
from training.scoring.evaluate import conditions, frame_counts, require_same_classes, summed, table
from training.scoring.intervals import Counts, Interval, mean_iou_interval, rare_classes


@dataclass(frozen=True)
class Scored:
    """One network's confusion matrices (F, n, n) over the frames of a split, and their conditions.

    where: the conditions in one line.
    """

    segmenter: Segmenter
    options: Options
    mapping: ClassMapping | None
    counts: Counts
    where: str
    boundary_iou: float

    @cached_property
    def interval(self) -> Interval:
        return mean_iou_interval(self.counts)

    def text(self, split: Split) -> str:
        """The table, the interval and the conditions."""
        identity = self.segmenter.runtime.identity
        interval = f"95% of draws of {len(self.counts)} frames: mean IoU {self.interval}"
        if rare := self.rare(split):
            interval += f"; few frames show {', '.join(f'{name} ({count})' for name, count in rare.items())}"
        scores = table(summed(self.counts), split.labels.names)
        near = f"mean IoU near borders, within {FRACTION:.0%} of the diagonal: {self.boundary_iou:.3f}"
        return f"{scores}\n{interval}\n{near}\n{identity.name} {identity.sha256[:16]}, {self.where}"

    def rare(self, split: Split) -> dict[str, int]:
        """The names of the classes that too few frames show for an interval, each with the number of these frames."""
        return {split.labels.names[index]: count for index, count in rare_classes(self.counts).items()}

    def facts(self) -> dict[str, Any]:
        """The scores, the weights file and the conditions, for JSON."""
        identity = self.segmenter.runtime.identity
        source = {"weights": identity.name, "sha256": identity.sha256, "conditions": self.where}
        return source | summed(self.counts).scores() | self._interval_and_boundary()

    def recorded(self, split: Split) -> dict[str, Any]:
        """The scores and the conditions, as a weights file stores them."""
        scores = summed(self.counts).scores() | self._interval_and_boundary()
        rare = {"few_frames": rare} if (rare := self.rare(split)) else {}
        return scores | rare | {"classes": split.labels.names, "conditions": self.where}

    def _interval_and_boundary(self) -> dict[str, Any]:
        near = None if isnan(self.boundary_iou) else round(self.boundary_iou, 6)
        return {"mean_iou_95": self.interval.rounded(), "boundary_iou": near}


def score(
    segmenter: Segmenter,
    split: Split,
    labels: LabelSet,
    mapping: ClassMapping | None,
    options: Options,
    changes: str = "",
) -> Scored:
    """Scores a network on the split.

    labels: of the masks, before the split's mapping. mapping: from these labels to fewer classes. changes: how flags changed
    the network, as text for the conditions. Raises `DataError` if the network's classes differ from the labels'.
    """
    # a network that was trained with this mapping already predicts the mapped ids
    mapped = None if mapping and segmenter.manifest.labels.names == mapping.labels.names else mapping
    if mapped:
        require_same_classes(segmenter.manifest.labels, labels)
        mapped = mapped.of_predictions(labels)
    boundaries = BoundaryIoU(len(split.labels))
    counts = frame_counts(segmenter, split, options, mapped, boundaries)
    frames = f"{len(split.frames)} frames (list {split.digest[:16]})"
    where = f"{frames}, {conditions(segmenter, options)}{changes}"
    return Scored(segmenter, options, mapped, counts, where, boundaries.mean_iou)


def fit_temperature(segmenter: Segmenter, split: Split, samples: Sequence[Sample]) -> RecordedCalibration:
    """Fits a temperature for this network on a split with the network's classes; prints it and its calibration errors.

    samples: of the split's frames, as `gather` gives them.
    """
    calibration = calibrate(samples)
    print(f"temperature {calibration.temperature}, fitted on {calibration.frames} frames of {split.name}")
    ece_after = f"with that of the other blocks {calibration.ece_after:.4f}"
    print(f"expected calibration error over {calibration.blocks} blocks of them: {calibration.ece_before:.4f}, {ece_after}")
    if calibration.at_the_edge:
        print("this temperature is at the limit of the search: the predictions are never wrong, or do not depend on the labels")
    return RecordedCalibration(calibration, split.name, Measured.of(segmenter.runtime))
