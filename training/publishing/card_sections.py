"""Sections of model cards: the header for the Hugging Face Hub, scores and calibration; cells of Markdown.

This module needs no PyTorch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from model.manifest import Manifest
from training.data.problems import counted
from training.scoring.intervals import ends_text, few_frames_line

# licences that the Hub knows by these names; others are stated as `other` with their own name
LICENSES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-nd-4.0", "gpl-3.0", "agpl-3.0", "openrail",
)  # fmt: skip
CARD = rb'(?s)---\n.*\nlibrary_name: "fcn-segment"\n'  # what every card begins with
METRICS = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
TRANSFER = (
    "Temperature and error hold for frames of this kind. They do not carry over to others, such as other streets or another "
    "camera: there another temperature fits, and the error may be several times as large. `fcn-evaluate --calibrate` fits it "
    "on frames of your own."
)


def table_row(*cells: str) -> str:
    """A row of a Markdown table; escapes bars in cells, and replaces line breaks with spaces."""
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    # backslashes before a bar are doubled: otherwise they would escape the backslash that escapes the bar
    return re.sub(r"(\\*)\|", lambda bar: bar[1] * 2 + "\\|", " ".join(text.splitlines()))


def literal(name: str) -> str:
    """Escapes a name so that Markdown shows it literally: not `_background_` in italics, nor `$x$` as a formula."""
    return re.sub(r"[*`$<\[]|(?<!\w)_|_(?!\w)", r"\\\g<0>", name)


def calibration_section(training: Mapping[str, Any]) -> list[str]:
    """The section on calibration, with a row for each measured precision; empty if none was measured."""
    names = {"calibration": "float32", "calibration_int8": "int8"}
    calibrations = {precision: training[name] for name, precision in names.items() if name in training}
    if not calibrations:
        return []
    rows = [
        table_row(
            precision,
            f"{calibration['temperature']:.3f}",
            f"{frames} of {calibration['split']}",
            check,
            f"{calibration['ece_before']:.4f}",
            f"{calibration['ece_after']:.4f}",
        )
        for precision, calibration in calibrations.items()
        for frames, check in [checked_frames(calibration)]
    ]
    head = ["| precision | temperature | frames | checked on | ECE without | ECE with one |", "|---|---|---|---|---|---|"]
    return [
        "## Calibration",
        "Confidence is the softmax of the logits divided by a temperature that is fitted on these frames. The expected "
        "calibration error (15 bins; Guo et al. 2017) is over blocks of frames that lie together in the list, each with the "
        "temperature that was fitted on the other blocks. " + TRANSFER,
        "\n".join([*head, *rows]),
    ]


def checked_frames(calibration: Mapping[str, Any]) -> tuple[int, str]:
    """The number of frames of a calibration, and how it was checked: `4 blocks`, or `every second` in older files."""
    if "blocks" in calibration:
        return calibration["frames"], f"{calibration['blocks']} blocks"
    return calibration["fitted_frames"] + calibration["checked_frames"], "every second"


def score_tables(scores: Mapping[str, Any]) -> list[str]:
    """A table for each set of classes, with a column for each measurement; then the conditions."""
    scores = {name: values for name, values in scores.items() if {"classes", "iou"} <= set(values)}
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, values in scores.items():
        groups.setdefault(tuple(values["classes"]), []).append(name)
    tables = [_score_table({name: scores[name] for name in names}, classes) for classes, names in groups.items()]
    conditions = [
        f"- {literal(name)}: {values['conditions']}{_remarks(values)}"
        for name, values in scores.items()
        if "conditions" in values
    ]
    rough = [f"{literal(name)}: {line}" for name, values in scores.items() if (line := few_frames_line(values))]
    return [*tables, "\n".join(conditions), *rough]


def _remarks(values: Mapping[str, Any]) -> str:
    """Which classes few frames show, how many frames show each, and which are predicted alone; each if it is stored."""
    numbers = zip(values["classes"], values.get("frames", ()), strict=False)
    few = literal(counted(values.get("few_frames", {})))
    alone = literal(counted(values.get("predicted_only", {}), " pixels"))
    frames = ", ".join(f"{literal(name)} {count}" for name, count in numbers)
    remarks = (
        few and f"; too few frames show {few}; the interval is unreliable",
        frames and f"; frames that show {frames}",
        alone and f"; predicted, but shown by no label, so left out of the means: {alone}",
    )
    return "".join(remarks)


def _score_table(columns: Mapping[str, Any], classes: Sequence[str]) -> str:
    rows = [table_row("IoU", *map(literal, columns)), "|---|" + "---|" * len(columns)]
    for index, label in enumerate(classes):
        rows.append(table_row(literal(label), *(number(values["iou"][index]) for values in columns.values())))
    for mean in METRICS:
        cells = (f"**{number(values.get(mean))}**" for values in columns.values())
        rows.append(table_row(f"**{mean.replace('_', ' ').replace('iou', 'IoU')}**", *cells))
        if mean == "mean_iou" and any("mean_iou_95" in values for values in columns.values()):
            ends = (ends_text(values.get("mean_iou_95", (None, None)), none="") for values in columns.values())
            rows.append(table_row("95% interval of the mean IoU", *ends))
        if mean == "mean_iou" and any("predicted_only" in values for values in columns.values()):
            others = (number(values.get("mean_iou_with_predicted")) for values in columns.values())
            rows.append(table_row("mean IoU, classes that are predicted and that no label shows counted as 0", *others))
        if mean == "mean_iou" and any("boundary_iou" in values for values in columns.values()):
            near = (number(values["boundary_iou"]) if "boundary_iou" in values else "" for values in columns.values())
            rows.append(table_row("mean IoU near borders", *near))
    return "\n".join(rows)


def number(value: float | None) -> str:
    """A score with three decimals, or `none`."""
    return "none" if value is None else f"{value:.3f}"


def hub_header(name: str, manifest: Manifest) -> str:
    """The header with licence, task, tags and the recorded scores; values are JSON, which YAML includes.

    name: of the weights.
    """
    architecture = manifest.fcn
    first = manifest.license.split()[0].lower() if manifest.license.split() else ""
    other = {"license": "other", "license_name": _slug(manifest.license) or "unknown"}
    fields: dict[str, Any] = ({"license": first} if first in LICENSES else other) | {
        "library_name": "fcn-segment",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", architecture.variant, architecture.backbone, "onnx", "openvino"],
    }
    results = [_result(score, values) for score, values in manifest.scores.items() if {"classes", "iou"} <= set(values)]
    if results := [result for result in results if result["metrics"]]:
        fields["model-index"] = [{"name": name, "results": results}]
    lines = (f"{field}: {json.dumps(value, ensure_ascii=False)}" for field, value in fields.items())
    return "\n".join(["---", *lines, "---"])


def _result(score: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded score in the form of the Hub's `model-index`; without metrics where none is known."""
    return {
        "task": {"type": "image-segmentation", "name": "Semantic segmentation"},
        "dataset": {"type": _slug(score.split(",")[0]) or "unknown", "name": score},
        "metrics": [{"type": name, "value": values[name]} for name in METRICS if values.get(name) is not None],
    }


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
