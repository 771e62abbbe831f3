"""The files of an imported network: `NAME.onnx`, and `NAME.int8.onnx` that is made of it. There is no master.

Each file holds the document. This module needs no PyTorch.
"""

from __future__ import annotations

from pathlib import Path

from model.architecture import Grid
from model.imported_network import ImportedNetwork
from model.inference.runtimes.openvino_runtime import Export, read_export
from model.manifest import Manifest
from model.weights_file import EXPORT_SUFFIXES
from model.whole_file import write_file
from training.publishing.card_sections import calibration_section, score_tables
from training.publishing.onnx_files import export_facts, write_onnx
from training.reporting.markdown import literal


def read_imported(path: Path) -> Export | None:
    """The float32 file of an imported network at this path; None for a path of anything else. Raises `WeightsError`."""
    if not path.is_file() or not path.name.endswith(EXPORT_SUFFIXES["float32"]) or path.name.endswith(EXPORT_SUFFIXES["int8"]):
        return None
    export = read_export(path)
    return export if isinstance(export.manifest.architecture, ImportedNetwork) else None


def int8_path(path: Path) -> Path:
    """The path of the int8 file beside the float32 file of an imported network."""
    return path.with_name(path.name.removesuffix(EXPORT_SUFFIXES["float32"]) + EXPORT_SUFFIXES["int8"])


def files_by_precision(path: Path) -> dict[str, Path]:
    """The float32 file at this path, and the int8 file of the same original beside it, if there is one."""
    files, other = {"float32": path}, int8_path(path)
    if other.is_file() and read_export(other).master_sha256 == read_export(path).master_sha256:
        files["int8"] = other
    return files


def imported_facts(manifest: Manifest, precision: str, stride: int, grid: Grid) -> dict[str, str]:
    """The facts in the metadata of an imported network's file. `sha256` is that of the original."""
    assert isinstance(manifest.architecture, ImportedNetwork)
    sha256 = manifest.architecture.source_sha256
    return export_facts(manifest, sha256=sha256, precision=precision, stride=stride, grid=grid)


def save_imported(path: Path, manifest: Manifest) -> list[Path]:
    """Writes the document into the float32 file, into the int8 file of the same original beside it, and into the card.

    Gives the paths of what it wrote.
    """
    import onnx

    own, files = read_export(path), files_by_precision(path)
    for precision, file in files.items():
        write_onnx(file, onnx.load(file), imported_facts(manifest, precision, own.stride, own.grid))
    return [*files.values(), write_imported_card(path, manifest)]


def write_imported_card(path: Path, manifest: Manifest) -> Path:
    """Writes the card of the float32 file at this path; gives the card's path."""
    card = path.with_suffix(".md")
    write_file(card, imported_card(path.stem, manifest), follow=False)
    return card


def imported_card(name: str, manifest: Manifest) -> str:
    """The card's text in Markdown; it depends only on the document in the file."""
    network, preprocessing, facts = manifest.architecture, manifest.preprocessing, manifest.training
    assert isinstance(network, ImportedNetwork)
    proof = facts.get("proof", {})
    difference = proof.get("largest_difference")
    low, high = preprocessing.side
    sections = [*score_tables(manifest.scores), *calibration_section(facts)]
    scores = (
        "## Scores\n\nOf the served path, as `fcn-evaluate` measures them.\n\n" + "\n\n".join(sections) + "\n\n"
        if manifest.scores
        else ""
    )
    confidence = "" if network.has_logits else "The network gives class ids, so there is no confidence.\n\n"
    return f"""\
# {literal(name)}

A network of {len(manifest.labels)} classes, converted from `{network.source}`. Licence: {literal(manifest.license)}.

{"".join(f"{literal(note)}{chr(10)}{chr(10)}" for note in facts.get("notes", []))}{confidence}## Conversion

| fact | value |
|---|---|
| original | `{network.source}`, sha256 `{network.source_sha256}` |
| written by | {literal(network.producer)} |
| input | {literal(facts.get("input", "unknown"))} |
| pixels | {literal(facts.get("normalisation", "unknown"))} |
| output | {literal(facts.get("output", "unknown"))} |
| same classes as the original | {proof.get("agreement", 0):.5f}, on {proof.get("pictures", 0)} pictures |
| largest difference of logits | {"not compared" if difference is None else f"{difference:.3g}"} |

{scores}## Use

The advised longer side is {low} to {high} pixels, in tiles of {preprocessing.tile[0]}x{preprocessing.tile[1]} (height x width).

Classes: {", ".join(f"{entry.id} {literal(entry.name)}" for entry in manifest.labels.classes)}.
"""
