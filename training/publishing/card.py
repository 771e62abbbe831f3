"""Model cards, Markdown texts of what a weights file says, and folders with them for the Hugging Face Hub.

This module needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common.whole_file import copy_file, write_file
from model.imported_network import ImportedNetwork
from model.manifest import Manifest
from model.weights_file import MASTER_SUFFIX, Weights, find_files, load_weights
from training.publishing.card_sections import calibration_section, hub_header, literal, number, score_tables, table_row
from training.reporting.curves import draw, score_chart
from training.scoring.intervals import ends_text


def write_card(path: Path) -> None:
    """Writes the card and the chart of a weights file beside it; if the chart cannot be drawn, stderr says why."""
    weights = load_weights(path)
    write_file(path.with_suffix(".md"), card(weights), follow=False)
    draw(path.with_suffix(".png"), lambda: score_chart(weights, path.with_suffix(".curves.csv")))


def card(weights: Weights) -> str:
    """The card's text, with the header of the Hugging Face Hub; it depends only on the document in the file."""
    manifest, training = weights.manifest, weights.manifest.training
    architecture, preprocessing = manifest.fcn, manifest.preprocessing
    bands = f"the bands {', '.join(preprocessing.bands)}" if preprocessing.is_multispectral else "RGB"
    sides = " to ".join(map(str, dict.fromkeys(preprocessing.side)))
    variant = f"FCN-{architecture.variant.removeprefix('fcn')}"
    parts = [
        hub_header(weights.name, manifest),
        f"# {literal(weights.name)}",
        f"{variant} on {architecture.backbone}, output stride {architecture.output_stride}, {len(manifest.labels)} classes. "
        f"Licence: {manifest.license}.",
        *training.get("notes", []),
        "## Scores\n\nOf the served path, as `fcn-evaluate` measures them: the file's tensors, through the service's tiling.",
        *score_tables(manifest.scores),
        f"![Scores by class and training curves]({quote(weights.name)}.png)",
        *calibration_section(training),
        "## Training\n\n" + _training_table(training),
        f"Command:\n\n```sh\n{training.get('command', 'unknown')}\n```",
        "## Use",
        f"Pixels are used as `(pixel * {preprocessing.scale:.6g} - mean) / std` with mean {list(preprocessing.mean)} and std "
        f"{list(preprocessing.std)}, in {bands}; the advised longer side is {sides} pixels, "
        f"in tiles of {_size(preprocessing.tile)}.{_scale(preprocessing.gsd)}",
        _classes(manifest),
        f"sha256 `{weights.sha256}`",
    ]
    return "\n\n".join(parts) + "\n"


def imported_card(name: str, manifest: Manifest) -> str:
    """The text of an imported network's card; it depends only on the document in the file."""
    network, preprocessing, training = manifest.architecture, manifest.preprocessing, manifest.training
    assert isinstance(network, ImportedNetwork)
    proof = training.get("proof", {})
    difference = proof.get("largest_difference")
    rows = {
        "original": f"`{network.source}`, sha256 `{network.source_sha256}`",
        "written by": literal(network.producer),
        "input": literal(training.get("input", "unknown")),
        "pixels": literal(training.get("normalisation", "unknown")),
        "output": literal(training.get("output", "unknown")),
        "same classes as the original": f"{proof.get('agreement', 0):.5f}, on {proof.get('pictures', 0)} pictures",
        "largest difference of logits": "not compared" if difference is None else f"{difference:.3g}",
    }
    scores = ["## Scores", "Of the served path, as `fcn-evaluate` measures them.", *score_tables(manifest.scores)]
    (low, high), whole = preprocessing.side, manifest.whole
    tiles = f"each photo as one tile: {whole.describe()}" if whole else f"in tiles of {_size(preprocessing.tile)}"
    parts = [
        f"# {literal(name)}",
        f"A network of {len(manifest.labels)} classes, converted from `{network.source}`. "
        f"Licence: {literal(manifest.license)}.",
        *map(literal, training.get("notes", [])),
        "" if network.has_logits else "The network gives class ids, so there is no confidence.",
        "## Conversion",
        "\n".join(["| fact | value |", "|---|---|", *(table_row(*row) for row in rows.items())]),
        *([*scores, *calibration_section(training)] if manifest.scores else []),
        "## Use",
        f"The advised longer side is {low} to {high} pixels, {tiles}.",
        _classes(manifest),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def write_hub_folder(master: Path, folder: Path) -> list[Path]:
    """Writes README.md and copies the master, its exports, its chart and its curves; gives the written paths.

    Files of these names are replaced. Nothing is uploaded. Raises `ValueError` for the master's own folder.
    """
    if folder.resolve() == master.resolve().parent:
        raise ValueError(f"--hub must be another folder than that of the weights, got {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / "README.md"
    write_file(readme, card(load_weights(master)), follow=False)
    name = master.name.removesuffix(MASTER_SUFFIX)
    pictures = [master.with_name(f"{name}{ending}") for ending in (".png", ".curves.csv")]
    files = [master, *find_files(str(master)).exports.values(), *(path for path in pictures if path.exists())]
    for path in files:
        copy_file(path, folder / path.name)
    return [readme, *(folder / path.name for path in files)]


def _training_table(training: Mapping[str, Any]) -> str:
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
        rows["the start on val"] = f"mean IoU {number(start['mean_iou'])}{_between(start)}, over {classes}"
    if change := training.get("against_start"):
        few = f"; {literal(change['without_few'])}" if change.get("without_few") else ""
        rows["against the start"] = f"mean IoU {change['mean_iou']:+.3f}{_between(change)}, on {change['frames']} frames{few}"
    if epochs := training.get("went_on_from_epochs"):
        rows["went on from epoch"] = ", ".join(map(str, epochs))
    rows["splits"] = "; ".join(splits)
    rows["recipe"] = ", ".join(f"{name} {value}" for name, value in training.get("recipe", {}).items())
    return "\n".join(["| | |", "|---|---|", *(table_row(name.replace("_", " "), str(value)) for name, value in rows.items())])


def _between(values: Mapping[str, Any]) -> str:
    """The interval of a mean IoU or of its change, in brackets; empty if there is none."""
    return ends_text(values["mean_iou_95"], " (95% interval {:.3f} to {:.3f})", "")


def _scale(gsd: float | None) -> str:
    if gsd is None:
        return ""
    return f" It learned from scenes whose pixels measure {gsd:.3g} m on the ground; scenes are scaled to that."


def _size(tile: tuple[int, int]) -> str:
    return f"{tile[0]}x{tile[1]} (height x width)"


def _classes(manifest: Manifest) -> str:
    return f"Classes: {', '.join(f'{entry.id} {literal(entry.name)}' for entry in manifest.labels.classes)}."
