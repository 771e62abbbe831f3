"""A network's scores on one split, as text, as JSON and as a weights file records them; and its temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import Any

from model.inference.instructions import int8_sums
from model.inference.plan import Options
from model.inference.runtime import ModelIdentity, Runtime
from model.inference.segmenter import Segmenter
from model.labels import LabelSet
from model.manifest import INT8_SCORES, Int8Sums
from model.metrics import ConfusionMatrix
from training.data.class_mapping import ClassMapping
from training.data.split import Split
from training.scoring.boundaries import FRACTION, BoundaryIoU
from training.scoring.calibration import Calibration, Sample, calibrate
from training.scoring.evaluate import conditions, frame_counts, require_same_classes, table
from training.scoring.intervals import Counts, Interval, mean_iou_interval
from training.scoring.trust import score_facts, trust_lines


@dataclass(frozen=True)
class MeasuredNetwork:
    """The network that was measured.

    identity: the weights file's name and sha256, the runtime and the precision. network_sha256: the digest of the export's
    network; empty for a master. sums: how the processor sums int8 products; `vnni` for other precisions.
    """

    identity: ModelIdentity
    network_sha256: str
    sums: Int8Sums = "vnni"

    @classmethod
    def of(cls, runtime: Runtime) -> MeasuredNetwork:
        sums = int8_sums() if runtime.identity.precision == "int8" else None
        return cls(runtime.identity, runtime.network_sha256, sums or "vnni")

    @property
    def precision(self) -> str:
        """The precision as the names of scores spell it."""
        precision = self.identity.precision
        return INT8_SCORES[self.sums] if precision == "int8" else precision


@dataclass(frozen=True)
class RecordedScore:
    """A score to record.

    name: without the precision. values: as a weights file stores them. network: the network that was scored.
    """

    name: str
    values: Mapping[str, Any]
    network: MeasuredNetwork


@dataclass(frozen=True)
class RecordedCalibration:
    """A temperature to record, the name of the split it was fitted on, and the network it was fitted for."""

    calibration: Calibration
    split: str
    network: MeasuredNetwork


@dataclass(frozen=True)
class SplitScore:
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
    segmenter: Segmenter,
    split: Split,
    labels: LabelSet,
    mapping: ClassMapping | None,
    options: Options,
    changes: str = "",
) -> SplitScore:
    """Scores a network on the split.

    labels: of the masks, before the split's mapping. mapping: from these labels to fewer classes. changes: how flags changed
    the network, as text for the conditions. Raises `DataError` if the network's classes differ from the labels'.
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
    where = f"{frames}, {conditions(segmenter, options)}{changes}"
    return SplitScore(segmenter, options, mapping, counts, where, boundaries.mean_iou)


def fit_and_print_temperature(segmenter: Segmenter, split: Split, samples: Sequence[Sample]) -> RecordedCalibration:
    """Fits a temperature for this network and prints it with its calibration errors; gives what a weights file stores.

    If the check finds the temperature worse than none, that is temperature 1, and a line says so.
    split: has the network's classes. samples: of the split's frames, as `gather` gives them.
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
    return RecordedCalibration(calibration.stored, split.name, MeasuredNetwork.of(segmenter.runtime))
