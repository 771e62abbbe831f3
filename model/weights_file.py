"""Weights files: the master in safetensors, which training writes, and its exports for other runtimes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from common.whole_file import write_file
from model.manifest import METADATA_KEY, Manifest, WeightsError

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"
DEFAULT_WEIGHTS = "voc-fcn8s-mobilenet-v2"
MASTER_SUFFIX = ".safetensors"
EXPORT_SUFFIXES = {"int8": ".int8.onnx", "float32": ".onnx"}

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Weights:
    """A master's content: its name (without folder and ending), sha256, manifest and tensors."""

    name: str
    sha256: str
    manifest: Manifest
    tensors: Tensors


@dataclass(frozen=True)
class WeightsFiles:
    """The files of one network that exist: the master, or None, and the exports by precision."""

    name: str
    master: Path | None
    exports: Mapping[str, Path]


def find_weights(name: str) -> Path:
    """The master at this path or with this name in `weights/`; raises `WeightsError`, which lists the existing names."""
    for path in (Path(name), WEIGHTS_FOLDER / name, WEIGHTS_FOLDER / f"{name}{MASTER_SUFFIX}"):
        if path.is_file() and path.name.endswith(MASTER_SUFFIX):
            return path
    raise _not_found(name, MASTER_SUFFIX)


def find_files(name: str) -> WeightsFiles:
    """The files of a network. name: the path of a master or an export, or a name in `weights/`.

    The path of a master includes the exports beside it; the path of an export means that file only. Raises `WeightsError`,
    which lists the existing names.
    """
    for path in (Path(name), WEIGHTS_FOLDER / name):
        for precision, suffix in EXPORT_SUFFIXES.items():
            if path.is_file() and path.name.endswith(suffix):
                return WeightsFiles(path.name.removesuffix(suffix), None, {precision: path})
        if path.is_file() and path.name.endswith(MASTER_SUFFIX):
            return _beside(path.with_name(path.name.removesuffix(MASTER_SUFFIX)))
    files = _beside(WEIGHTS_FOLDER / name)
    if not files.master and not files.exports:
        raise _not_found(name, *EXPORT_SUFFIXES.values(), MASTER_SUFFIX)
    return files


def _beside(stem: Path) -> WeightsFiles:
    """The existing files whose paths are this one plus a suffix."""
    master = stem.with_name(stem.name + MASTER_SUFFIX)
    exports = {precision: stem.with_name(stem.name + suffix) for precision, suffix in EXPORT_SUFFIXES.items()}
    existing = {precision: path for precision, path in exports.items() if path.is_file()}
    return WeightsFiles(stem.name, master if master.is_file() else None, existing)


def _not_found(name: str, *endings: str) -> WeightsError:
    """The error for a name that leads to no file with one of these endings."""
    problem = f"no weights file {name!r}"
    if Path(name).is_file():
        problem = f"{name!r} is no weights file, whose name ends in {' or '.join(endings)}"
    suffixes = (*EXPORT_SUFFIXES.values(), MASTER_SUFFIX)
    stems = {path.name.removesuffix(suffix) for suffix in suffixes for path in WEIGHTS_FOLDER.glob(f"*{suffix}")}
    names = ", ".join(sorted(stem for stem in stems if not stem.endswith(".int8"))) or "none"
    return WeightsError(f"{problem}; give a file's path or a name in {WEIGHTS_FOLDER} (there: {names})")


def load_weights(path: Path) -> Weights:
    """Reads and checks a master; raises `WeightsError`. Unpickles nothing."""
    try:
        # reads the file once, so that the digest matches the loaded bytes even if the file is replaced at the same time
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    return parse_weights(path, data)


def parse_weights(path: Path, data: bytes) -> Weights:
    """The content of a master that was read from this path; raises `WeightsError`."""
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise damaged(path, error) from error
    except KeyError as error:
        raise WeightsError(f"{path} has tensors of the type {error}, which numpy lacks; give float32 or float16") from error
    metadata = _metadata(data)
    if METADATA_KEY not in metadata:
        raise WeightsError(f"{path} has no {METADATA_KEY!r} in its header; was it written by fcn-train?")
    try:
        manifest = Manifest.from_json(metadata[METADATA_KEY])
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return Weights(path.stem, hashlib.sha256(data).hexdigest(), manifest, tensors)


def check_master(path: Path) -> None:
    """Reads a master's header. Raises `WeightsError` for another file, and for one of another length than it says."""
    try:
        with safe_open(path, framework="np"):
            return
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: SafetensorError) -> WeightsError:
    """The error for a master that safetensors cannot read."""
    return WeightsError(f"{path} is damaged, or is not a safetensors file: {error}; copy it again")


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata in a safetensors file's header: the header's length in 8 little-endian bytes, then JSON."""
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] | None = json.loads(data[8 : 8 + length]).get("__metadata__")
    return metadata or {}


def save_weights(path: Path, tensors: Tensors, manifest: Manifest) -> None:
    """Writes a master atomically. Tensors keep their dtypes."""
    # safetensors writes an array's memory and ignores its strides
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    write_file(path, save(contiguous, {METADATA_KEY: manifest.to_json()}))
