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
    """The network that a score or a temperature was measured with.

    identity: the weights file's name, its sha256, and the precision. network_sha256: the digest of the export's network.
    sums: how the processor sums int8 products; `vnni` for other precisions.
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

    The tensors do not change. advise: gives the file's preprocessing with the advised side and tile of the measurement. Values
    of another export in a measured precision are removed. A score of another file, such as of the start, names that file in
    its conditions. A temperature for int8 that was fitted on a processor without VNNI or AMX never replaces a recorded one.
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
