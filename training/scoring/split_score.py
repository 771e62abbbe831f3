"""A network's scores on one split, as text, as JSON and as a weights file records them; and its temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import Any

from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.labels import LabelSet
from model.metrics import ConfusionMatrix
from training.data.class_mapping import ClassMapping
from training.data.split import Split
from training.scoring.boundaries import FRACTION, BoundaryIoU
from training.scoring.calibration import Calibration, Sample, calibrate
from training.scoring.evaluate import conditions, frame_counts, require_same_classes, table
from training.scoring.intervals import Counts, Interval, mean_iou_interval, score_facts, trust_lines


@dataclass(frozen=True)
class SplitScore:
    """One network's confusion matrices (F, n, n) over the frames of a split, and their conditions.

    where: the conditions in one line.
    """

    segmenter: Segmenter
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
        scores = table(ConfusionMatrix.of_frames(self.counts), split.labels.names)
        near = f"mean IoU near borders, within {FRACTION:.0%} of the diagonal: {self.boundary_iou:.3f}"
        where = f"{identity.name} {identity.sha256[:16]}, {self.where}"
        return "\n".join([scores, *trust_lines(self.values(split)), near, where])

    def facts(self, split: Split) -> dict[str, Any]:
        """The scores, the weights file and the conditions, for JSON."""
        identity = self.segmenter.runtime.identity
        facts = {name: value for name, value in self.values(split).items() if name not in ("classes", "frames")}
        return {"weights": identity.name, "sha256": identity.sha256} | facts

    def values(self, split: Split) -> dict[str, Any]:
        """The scores and the conditions, as a weights file stores them."""
        near = None if isnan(self.boundary_iou) else round(self.boundary_iou, 6)
        facts = score_facts(self.counts, self.interval, split.labels.names)
        return facts | {"boundary_iou": near, "conditions": self.where}


def score_split(
    segmenter: Segmenter, split: Split, labels: LabelSet, mapping: ClassMapping | None, options: Options
) -> SplitScore:
    """Scores a network on the split.

    labels: of the masks, before the split's mapping. mapping: from these labels to fewer classes. Raises `DataError` if the
    network's classes differ from the labels'.
    """
    # a network that was trained with this mapping already predicts the mapped ids
    if mapping and segmenter.manifest.labels.names == mapping.labels.names:
        mapping = None
    if mapping:
        require_same_classes(segmenter.manifest.labels, labels)
        mapping = mapping.require_complete(labels)
    boundaries = BoundaryIoU(len(split.labels))
    counts = frame_counts(segmenter, split, options, mapping, boundaries)
    frames = f"{len(split.frames)} frames (list {split.digest[:16]})"
    where = f"{frames}, {conditions(segmenter, options)}"
    return SplitScore(segmenter, mapping, counts, where, boundaries.mean_iou)


def fit_and_print_temperature(split: Split, samples: Sequence[Sample]) -> Calibration:
    """Fits a temperature and prints it with its calibration errors; gives what a weights file stores.

    If the check finds the temperature worse than none, that is temperature 1, and a line says so. samples: of the split's
    frames, as `gather` gives them.
    """
    calibration = calibrate(samples)
    print(f"temperature {calibration.temperature}, fitted on {calibration.frames} frames of {split.name}")
    ece_after = f"{calibration.ece_after:.4f} with the temperature fitted on the other blocks ({calibration.blocks} blocks)"
    print(f"expected calibration error: {calibration.ece_before:.4f} without a temperature, {ece_after}")
    if calibration.is_at_limit:
        print("this temperature is at the limit of the search: the predictions are never wrong, or do not depend on the labels")
    if calibration.is_worse:
        print(
            "its own check finds it worse than none, so it is not stored: the temperature to store is 1; more frames may help"
        )
    return calibration.stored
