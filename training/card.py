"""Model cards: what a weights file says of itself, for people."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.weights_file import Weights
from training.checkpoint import Progress
from training.datasets import Split
from training.recipe import Recipe


@dataclass(frozen=True)
class CardFacts:
    """What a training knows at its end and the weights file keeps."""

    split: Split
    validation: Split
    recipe: Recipe
    progress: Progress
    command: str
    data_name: str
    start: str
    notes: Sequence[str]
    commit: str


def training_facts(facts: CardFacts) -> dict[str, Any]:
    """The `training` part of a weights file's header."""
    return {
        "data": facts.data_name,
        "splits": {
            split.name: {"frames": len(split.frames), "sha256": split.digest} for split in (facts.split, facts.validation)
        },
        "start": Path(facts.start).name,
        "recipe": facts.recipe.to_dict(),
        "seed": facts.recipe.seed,
        "steps": facts.progress.step,
        "skipped_steps": facts.progress.skipped,
        "hours": round(facts.progress.seconds / 3600, 3),
        "machine": machine(),
        "torch": torch.__version__,
        "commit": facts.commit,
        "command": facts.command,
        "notes": list(facts.notes),
    }


def machine() -> str:
    """The processor, the cores in use and the GPU if any."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cpu}, {torch.get_num_threads()} threads{gpu}"


def commit() -> str:
    """The checkout's commit, or `unknown` outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return result.stdout.strip() or "unknown"


def write_card(weights: Weights, path: Path) -> None:
    """Writes the card of these weights as Markdown."""
    path.write_text(card(weights))


def card(weights: Weights) -> str:
    """The card's text, from the file's facts alone."""
    manifest, training = weights.manifest, weights.manifest.training
    architecture = manifest.architecture
    parts = [
        f"# {weights.name}",
        f"{architecture.variant.upper().replace('FCN', 'FCN-').replace('S', 's')} on {architecture.backbone}, output stride "
        f"{architecture.output_stride}, {architecture.num_classes} classes. Licence: {manifest.license}.",
        *training.get("notes", []),
        "## Scores\n\nOf the served path, as `fcn-evaluate` measures them.",
        *[_scores(name, values) for name, values in manifest.scores.items()],
        "## Training\n\n" + _facts(training),
        f"Command:\n\n```sh\n{training.get('command', 'unknown')}\n```",
        "## Classes\n\n" + ", ".join(f"{c.id} {c.name}" for c in manifest.labels.classes),
        f"Pixels are used as `(pixel * {manifest.preprocessing.scale:.6g} - mean) / std`, mean {manifest.preprocessing.mean}, "
        f"std {manifest.preprocessing.std}; advised longer side {_range(manifest.preprocessing.side)}.",
        f"sha256 `{weights.sha256}`",
    ]
    return "\n\n".join(parts) + "\n"


def _scores(name: str, values: Mapping[str, Any]) -> str:
    rows = [f"### {name}", "", "| class | IoU |", "|---|---|"]
    rows += [f"| {label} | {_number(iou)} |" for label, iou in zip(values["classes"], values["iou"], strict=True)]
    means = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
    rows += [f"| **{mean.replace('_', ' ').replace('iou', 'IoU')}** | **{_number(values[mean])}** |" for mean in means]
    if "conditions" in values:
        rows += ["", values["conditions"]]
    return "\n".join(rows)


def _facts(training: Mapping[str, Any]) -> str:
    splits = ", ".join(
        f"{n} {s['frames']} frames (sha256 of the list {s['sha256'][:12]})" for n, s in training.get("splits", {}).items()
    )
    rows = {
        "data": training.get("data"),
        "splits": splits,
        "start": training.get("start"),
        "seed": training.get("seed"),
        "steps": training.get("steps"),
        "hours": training.get("hours"),
        "machine": training.get("machine"),
        "torch": training.get("torch"),
        "commit": training.get("commit"),
        "recipe": ", ".join(f"{name} {value}" for name, value in training.get("recipe", {}).items()),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _range(side: tuple[int, int]) -> str:
    return f"{side[0]}" if side[0] == side[1] else f"{side[0]} to {side[1]}"
