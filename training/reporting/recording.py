"""Records scores and temperatures in a weights file, in its card, and in its exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from model.inference.runtime import ModelIdentity, Runtime
from model.inference.runtimes.processor import int8_sums
from model.manifest import INT8_SCORES, Int8Sums, Manifest, scored_in
from model.preprocessing import Preprocessing
from model.weights_file import load_weights, save_weights
from training.commands.export import missing_packages, refresh_facts
from training.reporting.card import write_card
from training.scoring.calibration import Calibration


@dataclass(frozen=True)
class Measured:
    """The network that was measured.

    identity: the weights file's name and sha256, the runtime and the precision. network_sha256: the digest of the export's
    network; empty for a master. sums: how the processor sums int8 products; `vnni` for other precisions.
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
        """The precision as the names of scores spell it."""
        precision = self.identity.precision
        return INT8_SCORES[self.sums] if precision == "int8" else precision


@dataclass(frozen=True)
class RecordedScore:
    """A score to record.

    name: without the precision. values: as a weights file stores them. measured: the network that was scored.
    """

    name: str
    values: Mapping[str, Any]
    measured: Measured


@dataclass(frozen=True)
class RecordedCalibration:
    """A temperature to record, the name of the split it was fitted on, and the network it was fitted for."""

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
    """Adds scores, temperatures and notes to a weights file, its card and its exports; gives a line to print.

    advise: changes the preprocessing in the file, such as its advised side and tile. The tensors do not change.

    If a measured export has replaced an earlier one, the scores and the temperature of the earlier one are removed. The
    conditions of a score name the scored file if it is another one, such as the start of the training. A recorded temperature
    for int8 is not replaced by one that was fitted on a processor without VNNI or AMX.
    """
    weights = load_weights(path)
    manifest = weights.manifest
    for measured in [score.measured for score in scores] + [fit.measured for fit in calibrations]:
        if measured.network_sha256 and measured.identity.sha256 == weights.sha256:
            manifest = manifest.of_export(measured.identity.precision, measured.network_sha256)
    for score in scores:
        manifest = _with_score(manifest, score, weights.sha256)
    for fit in calibrations:
        if fit.measured.sums == "vnni" or fit.measured.identity.precision not in manifest.temperatures:
            manifest = _with_calibration(manifest, fit)
    all_notes = dict.fromkeys([*manifest.training.get("notes", []), *notes])
    manifest = replace(
        manifest, training={**manifest.training, "notes": list(all_notes)}, preprocessing=advise(manifest.preprocessing)
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
