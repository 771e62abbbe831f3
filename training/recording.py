"""What was measured of a weights file goes into its facts, into its card, and into those of its exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from model.inference.runtime import ModelIdentity
from model.manifest import Manifest, scored_in
from model.preprocessing import Preprocessing
from model.weights_file import Weights, load_weights, save_weights
from training.calibration import Calibration
from training.card import write_card
from training.export import missing_packages, refresh_facts


def record_score(
    path: Path,
    name: str,
    score: Mapping[str, Any],
    scored: ModelIdentity,
    advise: Callable[[Preprocessing], Preprocessing],
    notes: Sequence[str],
) -> str:
    """Adds a score under this name and its precision, the advice under which it was measured, and notes; its tensors stay.

    advise: gives the file's preprocessing with that advice. The score of another file, such as of the start, says in its
    conditions which. Gives what to print.
    """
    weights = load_weights(path)
    if scored.sha256 != weights.sha256:
        other = f"of {scored.name} {scored.sha256[:16]}, not of this file"
        score = dict(score) | {"conditions": f"{other}; {score['conditions']}"}
    scores = dict(weights.manifest.scores) | {scored_in(name, scored.precision): score}
    kept = dict.fromkeys([*weights.manifest.training.get("notes", []), *notes])
    training = dict(weights.manifest.training) | {"notes": list(kept)}
    preprocessing = advise(weights.manifest.preprocessing)
    return _write(path, replace(weights.manifest, scores=scores, training=training, preprocessing=preprocessing), weights)


def record_calibration(path: Path, found: Calibration, split: str, precision: str) -> str:
    """Adds the temperature of this precision, and how it was checked; gives what to print."""
    weights = load_weights(path)
    name = "calibration" if precision == "float32" else f"calibration_{precision}"
    training = dict(weights.manifest.training) | {name: asdict(found) | {"split": split}}
    temperatures = dict(weights.manifest.temperatures) | {precision: found.temperature}
    return _write(path, replace(weights.manifest, training=training, temperatures=temperatures), weights)


def _write(path: Path, manifest: Manifest, weights: Weights) -> str:
    save_weights(path, weights.tensors, manifest)
    write_card(path)
    exports = refresh_facts(path, weights.sha256) if not missing_packages() else []
    return f"recorded in {', '.join(map(str, (path, path.with_suffix('.md'), *exports)))}"
