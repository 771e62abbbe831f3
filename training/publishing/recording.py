"""Records scores and temperatures in a weights file, in its card, and in its exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from model.inference.instructions import int8_sums
from model.inference.runtime import Runtime
from model.manifest import INT8_SCORES, Manifest, scored_in
from model.preprocessing import Preprocessing
from model.weights_file import load_weights
from training.publishing.onnx_files import read_imported, save_manifest
from training.scoring.calibration import Calibration


@dataclass(frozen=True)
class Measurement:
    """What was measured of a weights file in one precision.

    runtime: ran the file in this precision. split: the name of the split. scores: by name, without the precision, as a weights
    file stores them. calibration: None if no temperature was fitted.
    """

    runtime: Runtime
    split: str
    scores: Mapping[str, Mapping[str, Any]]
    calibration: Calibration | None


def record(
    path: Path,
    measurements: Sequence[Measurement],
    advise: Callable[[Preprocessing], Preprocessing],
    notes: Sequence[str],
) -> str:
    """Adds scores, temperatures and notes to a weights file, its card and its exports; gives a line to print.

    path: a master, or the float32 file of an imported network. advise: changes the preprocessing in the file, such as its
    advised side and tile. The tensors do not change.

    If a measured export has replaced an earlier one, the scores and the temperature of the earlier one are removed. A recorded
    temperature for int8 is not replaced by one that was fitted on a processor without VNNI or AMX.
    """
    manifest = (read_imported(path) or load_weights(path)).manifest
    for measurement in measurements:
        manifest = _with_measurement(manifest, measurement)
    all_notes = dict.fromkeys([*manifest.training.get("notes", []), *notes])
    training = {**manifest.training, "notes": list(all_notes)}
    manifest = replace(manifest, training=training, preprocessing=advise(manifest.preprocessing))
    return f"recorded in {', '.join(map(str, save_manifest(path, manifest)))}"


def _with_measurement(manifest: Manifest, measurement: Measurement) -> Manifest:
    """The manifest with the scores and the temperature of one precision."""
    runtime, calibration = measurement.runtime, measurement.calibration
    precision = runtime.identity.precision
    sums = (int8_sums() if precision == "int8" else None) or "vnni"
    if runtime.network_sha256:
        manifest = manifest.of_export(precision, runtime.network_sha256)
    for name, values in measurement.scores.items():
        remark = "; products summed in 16 bits, as by AVX2" if sums == "avx2" else ""
        facts = {**values, "conditions": f"{values['conditions']}{remark}"}
        full_name = scored_in(name, INT8_SCORES[sums] if precision == "int8" else precision)
        manifest = replace(manifest, scores={**manifest.scores, full_name: facts})
    if calibration is None or (sums != "vnni" and precision in manifest.temperatures):
        return manifest
    name = "calibration" if precision == "float32" else f"calibration_{precision}"
    return replace(
        manifest,
        training={**manifest.training, name: asdict(calibration) | {"split": measurement.split}},
        temperatures={**manifest.temperatures, precision: calibration.temperature},
    )
