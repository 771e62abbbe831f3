"""Records scores and temperatures in a weights file, in its card, and in its exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from model.manifest import Manifest, scored_in
from model.preprocessing import Preprocessing
from model.weights_file import load_weights, save_weights
from training.publishing.card import write_card
from training.publishing.export_files import missing_packages, refresh_facts
from training.publishing.onnx_files import read_imported, save_imported
from training.scoring.split_score import RecordedCalibration, RecordedScore


def record(
    path: Path,
    *,
    scores: Sequence[RecordedScore] = (),
    calibrations: Sequence[RecordedCalibration] = (),
    advise: Callable[[Preprocessing], Preprocessing] = lambda preprocessing: preprocessing,
    notes: Sequence[str] = (),
) -> str:
    """Adds scores, temperatures and notes to a weights file, its card and its exports; gives a line to print.

    path: a master, or the float32 file of an imported network.

    advise: changes the preprocessing in the file, such as its advised side and tile. The tensors do not change.

    If a measured export has replaced an earlier one, the scores and the temperature of the earlier one are removed. The
    conditions of a score name the scored file if it is another one, such as the start of the training. A recorded temperature
    for int8 is not replaced by one that was fitted on a processor without VNNI or AMX.
    """
    imported_export = read_imported(path)
    if imported_export:
        manifest = _recorded(imported_export.manifest, imported_export.master_sha256, scores, calibrations, advise, notes)
        return f"recorded in {', '.join(map(str, save_imported(path, manifest)))}"
    weights = load_weights(path)
    manifest = _recorded(weights.manifest, weights.sha256, scores, calibrations, advise, notes)
    save_weights(path, weights.tensors, manifest)
    write_card(path)
    exports = refresh_facts(path, weights.sha256) if not missing_packages() else []
    return f"recorded in {', '.join(map(str, (path, path.with_suffix('.md'), *exports)))}"


def _recorded(
    manifest: Manifest,
    sha256: str,
    scores: Sequence[RecordedScore],
    calibrations: Sequence[RecordedCalibration],
    advise: Callable[[Preprocessing], Preprocessing],
    notes: Sequence[str],
) -> Manifest:
    """The manifest with what was measured. sha256: of the master, or of the original of an imported network."""
    for network in [score.network for score in scores] + [fit.network for fit in calibrations]:
        if network.network_sha256 and network.identity.sha256 == sha256:
            manifest = manifest.of_export(network.identity.precision, network.network_sha256)
    for score in scores:
        manifest = _with_score(manifest, score, sha256)
    for fit in calibrations:
        if fit.network.sums == "vnni" or fit.network.identity.precision not in manifest.temperatures:
            manifest = _with_calibration(manifest, fit)
    all_notes = dict.fromkeys([*manifest.training.get("notes", []), *notes])
    return replace(
        manifest, training={**manifest.training, "notes": list(all_notes)}, preprocessing=advise(manifest.preprocessing)
    )


def _with_score(manifest: Manifest, score: RecordedScore, sha256: str) -> Manifest:
    identity, values = score.network.identity, dict(score.values)
    if score.network.sums == "avx2":
        values["conditions"] += "; products summed in 16 bits, as by AVX2"
    if identity.sha256 != sha256:
        values["conditions"] = f"of {identity.name} {identity.sha256[:16]}, not of this file; {values['conditions']}"
    return replace(manifest, scores={**manifest.scores, scored_in(score.name, score.network.precision): values})


def _with_calibration(manifest: Manifest, fit: RecordedCalibration) -> Manifest:
    precision = fit.network.identity.precision
    name = "calibration" if precision == "float32" else f"calibration_{precision}"
    return replace(
        manifest,
        training={**manifest.training, name: asdict(fit.calibration) | {"split": fit.split}},
        temperatures={**manifest.temperatures, precision: fit.calibration.temperature},
    )
