"""What was measured of a weights file goes into its facts, into its card, and into those of its exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from model.inference.processor import int8_sums
from model.inference.runtime import ModelIdentity, Runtime
from model.manifest import INT8_SCORES, Int8Sums, Manifest, scored_in
from model.preprocessing import Preprocessing
from model.weights_file import load_weights, save_weights
from training.commands.export import missing_packages, refresh_facts
from training.reporting.card import write_card
from training.scoring.calibration import Calibration


@dataclass(frozen=True)
class Measured:
    """What a score or a temperature was measured of: the network's name, sha256 and precision, and its export's digest.

    sums: of int8, how the processor sums; else `vnni`.
    """

    identity: ModelIdentity
    network_sha256: str
    sums: Int8Sums = "vnni"

    @classmethod
    def of(cls, runtime: Runtime) -> Measured:
        sums = int8_sums() if runtime.identity.precision == "int8" else None
        return cls(runtime.identity, runtime.network_sha256, sums or "vnni")

    @property
    def precision(self) -> str:
        """As scores are named by it."""
        precision = self.identity.precision
        return INT8_SCORES[self.sums] if precision == "int8" else precision


@dataclass(frozen=True)
class RecordedScore:
    """A score to record: its name, without the precision, its values as a weights file stores them, and what was scored."""

    name: str
    values: Mapping[str, Any]
    measured: Measured


@dataclass(frozen=True)
class RecordedCalibration:
    """A temperature to record, the split that it was fitted on, and what it was fitted for."""

    calibration: Calibration
    split: str
    measured: Measured


def record(
    path: Path,
    *,
    scores: Sequence[RecordedScore] = (),
    calibrations: Sequence[RecordedCalibration] = (),
    advise: Callable[[Preprocessing], Preprocessing] = lambda preprocessing: preprocessing,
    notes: Sequence[str] = (),
) -> str:
    """Adds scores, temperatures and notes to a weights file, its card and its exports; the tensors stay. Gives what to print.

    int8's temperature is that of processors with VNNI or AMX, where there is one, for others too. advise: gives the file's
    preprocessing with the advice under which the scores were measured. The score of another file, such as of the start, says
    in its conditions which. What was recorded of another export in a precision is removed.
    """
    weights = load_weights(path)
    manifest = weights.manifest
    for measured in [each.measured for each in scores] + [each.measured for each in calibrations]:
        if measured.network_sha256 and measured.identity.sha256 == weights.sha256:
            manifest = manifest.of_export(measured.identity.precision, measured.network_sha256)
    for score in scores:
        manifest = _with_score(manifest, score, weights.sha256)
    for fit in calibrations:
        if fit.measured.sums == "vnni" or fit.measured.identity.precision not in manifest.temperatures:
            manifest = _with_calibration(manifest, fit)
    kept = dict.fromkeys([*manifest.training.get("notes", []), *notes])
    manifest = replace(
        manifest, training={**manifest.training, "notes": list(kept)}, preprocessing=advise(manifest.preprocessing)
    )
    save_weights(path, weights.tensors, manifest)
    write_card(path)
    exports = refresh_facts(path, weights.sha256) if not missing_packages() else []
    return f"recorded in {', '.join(map(str, (path, path.with_suffix('.md'), *exports)))}"


def _with_score(manifest: Manifest, score: RecordedScore, sha256: str) -> Manifest:
    identity, values = score.measured.identity, dict(score.values)
    if score.measured.sums == "avx2":
        values["conditions"] += "; products summed in 16 bits, as by AVX2"
    if identity.sha256 != sha256:
        values["conditions"] = f"of {identity.name} {identity.sha256[:16]}, not of this file; {values['conditions']}"
    return replace(manifest, scores={**manifest.scores, scored_in(score.name, score.measured.precision): values})


def _with_calibration(manifest: Manifest, fit: RecordedCalibration) -> Manifest:
    precision = fit.measured.identity.precision
    name = "calibration" if precision == "float32" else f"calibration_{precision}"
    return replace(
        manifest,
        training={**manifest.training, name: asdict(fit.calibration) | {"split": fit.split}},
        temperatures={**manifest.temperatures, precision: fit.calibration.temperature},
    )
