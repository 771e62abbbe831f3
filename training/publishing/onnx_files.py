"""ONNX files with the document that the service reads from their metadata. This module needs no PyTorch.

An imported network has `NAME.onnx`, and `NAME.int8.onnx` that is made of it. There is no master; each file holds the document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common.whole_file import write_file
from model.architecture import Grid
from model.imported_network import ImportedNetwork
from model.inference.runtimes.openvino_runtime import NETWORK_SHA256, Export, read_export
from model.manifest import METADATA_KEY, Manifest
from model.weights_file import EXPORT_SUFFIXES, MASTER_SUFFIX, find_files, load_weights, save_weights
from training.publishing.card import imported_card, write_card

OURS = "fcn/"
"""Begins the names of our nodes around an imported network."""


def export_path(path: Path, precision: str) -> Path:
    """The path of the export in this precision. path: of a master, or of an imported network's float32 file, its own export."""
    ending = MASTER_SUFFIX if path.name.endswith(MASTER_SUFFIX) else EXPORT_SUFFIXES["float32"]
    return path.with_name(path.name.removesuffix(ending) + EXPORT_SUFFIXES[precision])


def network_digest(model: Any) -> str:
    """The sha256 of an ONNX model's graph, which does not depend on the file's metadata."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def write_export(
    path: Path, model: Any, manifest: Manifest, precision: str, stride: int, grid: Grid, master_sha256: str = ""
) -> None:
    """Writes an ONNX model with this document and its network's digest, atomically. Other metadata of the model is removed.

    master_sha256: not of an imported network, whose files have the digest of their original.
    """
    import onnx

    network = manifest.architecture
    sha256 = network.source_sha256 if isinstance(network, ImportedNetwork) else master_sha256
    entries = {METADATA_KEY: manifest.to_json(), "sha256": sha256, "precision": precision, "stride": str(stride), "grid": grid}
    onnx.helper.set_model_props(model, entries | {NETWORK_SHA256: network_digest(model)})
    write_file(path, model.SerializeToString())


def read_imported(path: Path) -> Export | None:
    """The float32 file of an imported network at this path; None for a path of anything else. Raises `WeightsError`."""
    if not path.is_file() or not path.name.endswith(EXPORT_SUFFIXES["float32"]) or path.name.endswith(EXPORT_SUFFIXES["int8"]):
        return None
    export = read_export(path)
    return export if isinstance(export.manifest.architecture, ImportedNetwork) else None


def files_by_precision(path: Path) -> dict[str, Path]:
    """The float32 file at this path, and the int8 file of the same original beside it, if there is one."""
    files, other = {"float32": path}, export_path(path, "int8")
    if other.is_file() and read_export(other).master_sha256 == read_export(path).master_sha256:
        files["int8"] = other
    return files


def save_manifest(path: Path, manifest: Manifest) -> list[Path]:
    """Writes a changed document into a network's files and its card; gives their paths. The networks do not change.

    path: of a master, whose exports get the document too, or of the float32 file of an imported network.
    """
    if export := read_imported(path):
        files = _write_documents(files_by_precision(path), manifest, export.master_sha256)
        return [*files, write_imported_card(path, manifest)]
    weights = load_weights(path)
    save_weights(path, weights.tensors, manifest)
    write_card(path)
    return [path, path.with_suffix(".md"), *(refresh_documents(path, weights.sha256) if find_spec("onnx") else [])]


def refresh_documents(master: Path, former: str) -> list[Path]:
    """Writes the master's document into the exports beside it; gives their paths.

    former: the master's sha256 before the change; exports of other masters are left unchanged.
    """
    weights = load_weights(master)
    exports = {p: path for p, path in find_files(str(master)).exports.items() if read_export(path).master_sha256 == former}
    return _write_documents(exports, weights.manifest, weights.sha256)


def _write_documents(files: Mapping[str, Path], manifest: Manifest, sha256: str) -> list[Path]:
    """Writes a document into ONNX files, which are by precision; gives their paths."""
    import onnx

    for precision, path in files.items():
        own = read_export(path)
        write_export(path, onnx.load(path), manifest, precision, own.stride, own.grid, sha256)
    return list(files.values())


def write_imported_card(path: Path, manifest: Manifest) -> Path:
    """Writes the card of the float32 file at this path; gives the card's path."""
    target = path.with_suffix(".md")
    write_file(target, imported_card(path.stem, manifest), follow=False)
    return target
