"""Model cards: Markdown texts of the facts in a weights file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from model.weights_file import Weights, load_weights
from model.whole_file import whole_file
from training.data.split import Split
from training.learning.checkpoint import Progress
from training.learning.recipe import Recipe
from training.publishing.hub_header import hub_header
from training.reporting.machine import machine
from training.reporting.markdown import literal, table_row
from training.reporting.plots import draw, score_chart
from training.scoring.trust import few_frames_line

TRANSFER = (
    "Temperature and error hold for frames of this kind. They do not carry over to others, such as other streets or another "
    "camera: there another temperature fits, and the error may be several times as large. `fcn-evaluate --calibrate` fits it "
    "on frames of your own."
)


@dataclass(frozen=True)
class CardFacts:
    """Facts about a training, for the weights file."""

    split: Split
    validation: Split
    recipe: Recipe
    progress: Progress
    command: str
    data_name: str
    start: str
    notes: Sequence[str]
    commit: str
    precision: str
    start_score: Mapping[str, Any] = field(default_factory=dict)


def training_facts(facts: CardFacts) -> dict[str, Any]:
    """The `training` part of a weights file's header. `start_score` is there if the start was scored."""
    start_score = {"start_score": dict(facts.start_score)} if facts.start_score else {}
    return {
        "data": facts.data_name,
        "splits": {
            split.name: {"frames": len(split.frames), "sha256": split.digest} for split in (facts.split, facts.validation)
        },
        "start": Path(facts.start).name,
        "recipe": facts.recipe.to_dict(),
        "seed": facts.recipe.seed,
        "epochs": facts.progress.epoch,
        "best_epoch": facts.progress.best_epoch,
        "steps": facts.progress.step,
        "skipped_steps": facts.progress.skipped,
        "went_on_from_epochs": facts.progress.went_on_from,
        "hours": round(facts.progress.seconds / 3600, 3),
        "machine": machine(),
        "precision": facts.precision,
        "torch": torch.__version__,
        "commit": facts.commit,
        "command": facts.command,
        "notes": list(facts.notes),
    } | start_score


def write_card(path: Path) -> None:
    """Writes the card and the chart of a weights file beside it; if the chart cannot be drawn, stderr says why."""
    weights = load_weights(path)
    with whole_file(path.with_suffix(".md")) as partial:
        partial.write_text(card(weights), encoding="utf-8", errors="backslashreplace")
    draw(path.with_suffix(".png"), lambda: score_chart(weights, path.with_suffix(".curves.csv")))


def card(weights: Weights) -> str:
    """The card's text, with the header of the Hugging Face Hub; it depends only on the facts in the file."""
    manifest, training = weights.manifest, weights.manifest.training
    architecture, preprocessing = manifest.fcn, manifest.preprocessing
    variant = f"FCN-{architecture.variant.removeprefix('fcn')}"
    parts = [
        hub_header(weights.name, manifest),
        f"# {literal(weights.name)}",
        f"{variant} on {architecture.backbone}, output stride {architecture.output_stride}, {len(manifest.labels)} classes. "
        f"Licence: {manifest.license}.",
        *training.get("notes", []),
        "## Scores\n\nOf the served path, as `fcn-evaluate` measures them: the file's tensors, through the service's tiling.",
        *_score_tables(manifest.scores),
        f"![Scores by class and training curves]({quote(weights.name)}.png)",
        *_calibration(training),
        "## Training\n\n" + _facts(training),
        f"Command:\n\n```sh\n{training.get('command', 'unknown')}\n```",
        "## Use",
        f"Pixels are used as `(pixel * {preprocessing.scale:.6g} - mean) / std` with mean {list(preprocessing.mean)} and std "
        f"{list(preprocessing.std)}, in RGB; the advised longer side is {_range(preprocessing.side)} pixels, "
        f"in tiles of {preprocessing.tile[0]}x{preprocessing.tile[1]} (height x width).",
        "Classes: " + ", ".join(f"{entry.id} {literal(entry.name)}" for entry in manifest.labels.classes) + ".",
        f"sha256 `{weights.sha256}`",
    ]
    return "\n\n".join(parts) + "\n"


def _calibration(training: Mapping[str, Any]) -> list[str]:
    """The section on calibration, with a row for each measured precision; empty if none was measured."""
    names = {"calibration": "float32", "calibration_int8": "int8"}
    calibrations = {precision: training[name] for name, precision in names.items() if name in training}
    if not calibrations:
        return []
    rows = [
        table_row(
            precision,
            f"{facts['temperature']:.3f}",
            f"{frames} of {facts['split']}",
            checked,
            f"{facts['ece_before']:.4f}",
            f"{facts['ece_after']:.4f}",
        )
        for precision, facts in calibrations.items()
        for frames, checked in [checked_frames(facts)]
    ]
    head = ["| precision | temperature | frames | checked on | ECE without | ECE with one |", "|---|---|---|---|---|---|"]
    return [
        "## Calibration",
        "Confidence is the softmax of the logits divided by a temperature that is fitted on these frames. The expected "
        "calibration error (15 bins; Guo et al. 2017) is over blocks of frames that lie together in the list, each with the "
        "temperature that was fitted on the other blocks. " + TRANSFER,
        "\n".join([*head, *rows]),
    ]


def checked_frames(facts: Mapping[str, Any]) -> tuple[int, str]:
    """The number of frames of a calibration, and how it was checked: `4 blocks`, or `every second` in older files."""
    if "blocks" in facts:
        return facts["frames"], f"{facts['blocks']} blocks"
    return facts["fitted_frames"] + facts["checked_frames"], "every second"


def _score_tables(scores: Mapping[str, Any]) -> list[str]:
    """A table for each set of classes, with a column for each measurement; then the conditions."""
    scores = {name: values for name, values in scores.items() if {"classes", "iou"} <= set(values)}
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, values in scores.items():
        groups.setdefault(tuple(values["classes"]), []).append(name)
    tables = [_score_table({name: scores[name] for name in names}, classes) for classes, names in groups.items()]
    conditions = [
        f"- {literal(name)}: {values['conditions']}{_few_frames(values)}{_frames(values)}{_predicted_only(values)}"
        for name, values in scores.items()
        if "conditions" in values
    ]
    rough = [f"{literal(name)}: {line}" for name, values in scores.items() if (line := few_frames_line(values))]
    return [*tables, "\n".join(conditions), *rough]


def _few_frames(values: Mapping[str, Any]) -> str:
    """A remark on the classes that too few frames show for an interval; empty if there are none."""
    classes = ", ".join(f"{literal(name)} ({count})" for name, count in values.get("few_frames", {}).items())
    return f"; too few frames show {classes}; the interval is unreliable" if classes else ""


def _frames(values: Mapping[str, Any]) -> str:
    """A remark on how many frames show each class; empty for scores of before this was stored."""
    numbers = zip(values["classes"], values.get("frames", ()), strict=False)
    classes = ", ".join(f"{literal(name)} {count}" for name, count in numbers)
    return f"; frames that show {classes}" if classes else ""


def _predicted_only(values: Mapping[str, Any]) -> str:
    """A remark on the classes that are predicted and that no label shows; empty without."""
    classes = ", ".join(f"{literal(name)} ({pixels} pixels)" for name, pixels in values.get("predicted_only", {}).items())
    return f"; predicted, but shown by no label, so left out of the means: {classes}" if classes else ""


def _score_table(columns: Mapping[str, Any], classes: Sequence[str]) -> str:
    rows = [table_row("IoU", *map(literal, columns)), "|---|" + "---|" * len(columns)]
    for index, label in enumerate(classes):
        rows.append(table_row(literal(label), *(_number(values["iou"][index]) for values in columns.values())))
    for mean in ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"):
        cells = (f"**{_number(values.get(mean))}**" for values in columns.values())
        rows.append(table_row(f"**{mean.replace('_', ' ').replace('iou', 'IoU')}**", *cells))
        if mean == "mean_iou" and any("mean_iou_95" in values for values in columns.values()):
            rows.append(table_row("95% interval of the mean IoU", *(_ends(values) for values in columns.values())))
        if mean == "mean_iou" and any("predicted_only" in values for values in columns.values()):
            others = (_number(values.get("mean_iou_with_predicted")) for values in columns.values())
            rows.append(table_row("mean IoU, classes that are predicted and that no label shows counted as 0", *others))
        if mean == "mean_iou" and any("boundary_iou" in values for values in columns.values()):
            near = (_number(values["boundary_iou"]) if "boundary_iou" in values else "" for values in columns.values())
            rows.append(table_row("mean IoU near borders", *near))
    return "\n".join(rows)


def _facts(training: Mapping[str, Any]) -> str:
    splits = [f"{n}: {s['frames']} frames, list {s['sha256'][:16]}" for n, s in training.get("splits", {}).items()]
    rows = {
        name: training.get(name)
        for name in ("data", "start", "seed", "steps", "skipped_steps", "hours", "machine", "torch", "commit")
    }
    rows["data"] = rows["data"] or "not named"
    for name in ("precision", "epochs", "best_epoch"):  # files of before lack them
        if training.get(name):
            rows[name] = training[name]
    if start := training.get("start_score"):
        classes = ", ".join(map(literal, start["classes"]))
        rows["the start on val"] = f"mean IoU {_number(start['mean_iou'])}{_between(start)}, over {classes}"
    if change := training.get("against_start"):
        rows["against the start"] = f"mean IoU {change['mean_iou']:+.3f}{_between(change)}, on {change['frames']} frames"
    if epochs := training.get("went_on_from_epochs"):
        rows["went on from epoch"] = ", ".join(map(str, epochs))
    rows["splits"] = "; ".join(splits)
    rows["recipe"] = ", ".join(f"{name} {value}" for name, value in training.get("recipe", {}).items())
    return "\n".join(["| | |", "|---|---|", *(table_row(name.replace("_", " "), str(value)) for name, value in rows.items())])


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _between(values: Mapping[str, Any]) -> str:
    """The interval of a mean IoU or of its change, in brackets; empty if there is none."""
    low, high = values["mean_iou_95"]
    return "" if low is None else f" (95% interval {low:.3f} to {high:.3f})"


def _ends(values: Mapping[str, Any]) -> str:
    """The interval of a mean IoU; empty if none is stored."""
    ends = values.get("mean_iou_95", (None, None))
    return "" if None in ends else f"{_number(ends[0])} to {_number(ends[1])}"


def _range(side: tuple[int, int]) -> str:
    return f"{side[0]}" if side[0] == side[1] else f"{side[0]} to {side[1]}"
