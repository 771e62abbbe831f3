"""Weights files: the master in safetensors, which training writes, and its exports, which other runtimes run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

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
    """The files of one network that are there: the master, and the exports by precision."""

    name: str
    master: Path | None
    exports: Mapping[str, Path]


def find_weights(name: str) -> Path:
    """The master of this path, or of this name in `weights/`; raises `WeightsError` with the names there are."""
    for path in (Path(name), WEIGHTS_FOLDER / name, WEIGHTS_FOLDER / f"{name}{MASTER_SUFFIX}"):
        if path.is_file() and path.name.endswith(MASTER_SUFFIX):
            return path
    raise _not_found(name)


def find_files(name: str) -> WeightsFiles:
    """The master and the exports of this name: of a master's or an export's path, or a name in `weights/`.

    The path of an export means that file alone. Raises `WeightsError` with the names there are.
    """
    for path in (Path(name), WEIGHTS_FOLDER / name):
        for precision, suffix in EXPORT_SUFFIXES.items():
            if path.is_file() and path.name.endswith(suffix):
                return WeightsFiles(path.name.removesuffix(suffix), None, {precision: path})
        if path.is_file() and path.name.endswith(MASTER_SUFFIX):
            return _beside(path.with_name(path.name.removesuffix(MASTER_SUFFIX)))
    found = _beside(WEIGHTS_FOLDER / name)
    if not found.master and not found.exports:
        raise _not_found(name)
    return found


def _beside(stem: Path) -> WeightsFiles:
    master = stem.with_name(stem.name + MASTER_SUFFIX)
    exports = {precision: stem.with_name(stem.name + suffix) for precision, suffix in EXPORT_SUFFIXES.items()}
    there = {precision: path for precision, path in exports.items() if path.is_file()}
    return WeightsFiles(stem.name, master if master.is_file() else None, there)


def _not_found(name: str) -> WeightsError:
    suffixes = (*EXPORT_SUFFIXES.values(), MASTER_SUFFIX)
    stems = {path.name.removesuffix(s) for s in suffixes for path in WEIGHTS_FOLDER.glob(f"*{s}")}
    names = ", ".join(sorted(stem for stem in stems if not stem.endswith(".int8"))) or "none"
    return WeightsError(f"no weights file {name!r}; give a file's path or a name in {WEIGHTS_FOLDER} (there: {names})")


def load_weights(path: Path) -> Weights:
    """Reads and checks a master, without unpickling anything; raises `WeightsError`."""
    try:
        # read once: the digest is of the bytes that are loaded, also where the file is replaced meanwhile
        data = path.read_bytes()
        tensors = load(data)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from error
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


def _metadata(data: bytes) -> dict[str, str]:
    """The strings in a safetensors file's header: 8 bytes of its length, little-endian, then JSON."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] | None = json.loads(data[8 : 8 + length]).get("__metadata__")
    return found or {}


def save_weights(path: Path, tensors: Tensors, manifest: Manifest) -> None:
    """Writes a master, tensors as they are, atomically."""
    partial = path.with_name(path.name + ".part")
    # safetensors writes an array's memory as it lies, whatever its strides say
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    partial.write_bytes(save(contiguous, {METADATA_KEY: manifest.to_json()}))
    partial.replace(path)
