"""ONNX files with the facts that the service reads from their metadata. This module needs no PyTorch.

An imported network has `NAME.onnx`, and `NAME.int8.onnx` that is made of it. There is no master; each file holds the document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.architecture import Grid
from model.imported_network import ImportedNetwork
from model.inference.runtimes.openvino_runtime import NETWORK_SHA256, Export, read_export
from model.manifest import METADATA_KEY, Manifest
from model.weights_file import EXPORT_SUFFIXES, MASTER_SUFFIX
from model.whole_file import write_file
from training.publishing.card_sections import calibration_section, literal, score_tables


def export_path(master: Path, precision: str) -> Path:
    """The path of this master's export in this precision."""
    return master.with_name(master.name.removesuffix(MASTER_SUFFIX) + EXPORT_SUFFIXES[precision])


def network_digest(model: Any) -> str:
    """The sha256 of an ONNX model's graph, which does not depend on the facts in the file's metadata."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def export_facts(manifest: Manifest, *, sha256: str, precision: str, stride: int, grid: Grid) -> dict[str, str]:
    """The facts in an export's metadata. sha256: of its master, or of the original of an imported network."""
    facts = {METADATA_KEY: manifest.to_json(), "sha256": sha256, "precision": precision}
    return facts | {"stride": str(stride), "grid": grid}


def write_onnx(path: Path, model: Any, facts: Mapping[str, str]) -> None:
    """Writes an ONNX model with these facts and its network's digest, atomically. Other metadata of the model is removed."""
    import onnx

    onnx.helper.set_model_props(model, dict(facts) | {NETWORK_SHA256: network_digest(model)})
    write_file(path, model.SerializeToString())


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
