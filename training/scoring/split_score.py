"""A network's scores on one split, as text, as JSON and as a weights file records them; and its temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from model.inference.instructions import int8_sums
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from model.manifest import INT8_SCORES, Manifest, scored_in
from training.data.network_classes import NetworkClasses, network_classes
from training.data.split import Split
from training.scoring.boundaries import FRACTION, BoundaryIoU
from training.scoring.calibration import Calibration, Sample, calibrate
from training.scoring.evaluate import conditions, frame_counts, predictions, table
from training.scoring.intervals import score_entry, trust_lines
from training.scoring.metrics import ConfusionMatrix, Counts, rounded


@dataclass(frozen=True)
class SplitScore:
    """One network's confusion matrices (F, n, n) over the frames of a split, and their conditions.

    classes: as what the network's count; n is the number of their names. where: the conditions in one line.
    """

    segmenter: Segmenter
    classes: NetworkClasses
    counts: Counts
    where: str
    boundary_iou: float

    def text(self) -> str:
        """The table, the interval and the conditions."""
        identity = self.segmenter.runtime.identity
        scores = table(ConfusionMatrix(self.counts.sum(0)), self.classes.names)
        near = f"mean IoU near borders, within {FRACTION:.0%} of the diagonal: {self.boundary_iou:.3f}"
        where = f"{identity.name} {identity.sha256[:16]}, {self.where}"
        return "\n".join([scores, *trust_lines(self.values), near, *filter(None, [self.classes.line]), where])

    def to_dict(self) -> dict[str, Any]:
        """The scores, the weights file and the conditions, for JSON."""
        identity = self.segmenter.runtime.identity
        entry = {name: value for name, value in self.values.items() if name not in ("classes", "frames")}
        return {"weights": identity.name, "sha256": identity.sha256} | entry

    @cached_property
    def values(self) -> dict[str, Any]:
        """The scores and the conditions, as a weights file stores them."""
        entry = score_entry(self.counts, self.classes.names)
        return entry | {
            "boundary_iou": rounded(self.boundary_iou),
            "conditions": "; ".join(filter(None, [self.where, self.classes.line])),
        }


def score_split(segmenter: Segmenter, split: Split, options: Options) -> SplitScore:
    """Scores a network on the split. Raises `DataError` if the network lacks a class of the labels."""
    classes = network_classes(segmenter.manifest.labels.names, split)
    boundaries = BoundaryIoU(len(classes.names))
    counts = frame_counts(predictions(segmenter, split, options), split, classes, boundaries)
    frames = f"{len(split.frames)} frames (list {split.digest[:16]})"
    where = f"{frames}, {conditions(segmenter, options)}"
    return SplitScore(segmenter, classes, counts, where, boundaries.mean_iou)


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


def with_measurement(
    manifest: Manifest,
    runtime: Runtime,
    split: str,
    scores: Mapping[str, Mapping[str, Any]],
    calibration: Calibration | None,
    *,
    sums_fit: bool = False,
) -> Manifest:
    """The manifest with the scores and the temperature of one precision.

    runtime: ran the file in this precision. split: the name of the split. scores: by name, without the precision, as a weights
    file stores them. calibration: None if no temperature was fitted. sums_fit: as `sums_fit_16_bits` says of an int8 file; its
    scores then hold for every processor.

    If a measured export has replaced an earlier one, the scores and the temperature of the earlier one are removed. A recorded
    temperature for int8 is not replaced by one that was fitted on a processor without VNNI or AMX.
    """
    precision = runtime.identity.precision
    sums = (int8_sums() if precision == "int8" and not sums_fit else None) or "vnni"
    names = [precision] if precision != "int8" else [*INT8_SCORES.values()] if sums_fit else [INT8_SCORES[sums]]
    if runtime.network_sha256:
        manifest = manifest.of_export(precision, runtime.network_sha256)
    for name, values in scores.items():
        remark = "; products summed in 16 bits, as by AVX2" if sums == "avx2" else ""
        remark = "; weights of seven bits, whose sums every processor computes alike" if sums_fit else remark
        entry = {**values, "conditions": f"{values['conditions']}{remark}"}
        manifest = replace(manifest, scores={**manifest.scores, **{scored_in(name, each): entry for each in names}})
    if calibration is None or (sums != "vnni" and precision in manifest.temperatures):
        return manifest
    name = "calibration" if precision == "float32" else f"calibration_{precision}"
    return replace(
        manifest,
        training={**manifest.training, name: asdict(calibration) | {"split": split}},
        temperatures={**manifest.temperatures, precision: calibration.temperature},
    )
