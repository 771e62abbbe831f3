"""Writes ONNX files with the facts that the service reads from their metadata. This module needs no PyTorch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.architecture import Grid
from model.inference.runtimes.openvino_runtime import NETWORK_SHA256
from model.manifest import METADATA_KEY, Manifest
from model.weights_file import EXPORT_SUFFIXES, MASTER_SUFFIX
from model.whole_file import write_file


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
