"""The weights file: safetensors whose header holds, under `fcn`, one JSON document of everything the network needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.architecture import Architecture
from model.builder import build_network
from model.fcn import FCN
from model.labels import LabelSet
from model.preprocessing import Preprocessing

FORMAT_VERSION = 1
METADATA_KEY = "fcn"
WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"
DEFAULT_WEIGHTS = "voc-fcn8s-mobilenet-v2"


class WeightsError(ValueError):
    """A weights file that is missing, damaged, of another version, or that contradicts itself."""


@dataclass(frozen=True)
class Manifest:
    """The JSON document in a weights file's header."""

    architecture: Architecture
    labels: LabelSet
    preprocessing: Preprocessing
    license: str
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    temperature: float | None = None

    def to_json(self) -> str:
        document = {
            "format_version": FORMAT_VERSION,
            "architecture": self.architecture.to_dict(),
            "classes": self.labels.to_list(),
            "ignore_index": self.labels.ignore_index,
            "preprocessing": asdict(self.preprocessing),
            "license": self.license,
            "training": self.training,
            "scores": self.scores,
        }
        if self.temperature is not None:
            document["calibration"] = {"temperature": self.temperature}
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Reads the document; raises `WeightsError` naming what is missing or wrong."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise WeightsError(f"the header's {METADATA_KEY!r} is not JSON: {error}") from error
        version = document.get("format_version") if isinstance(document, dict) else None
        if version != FORMAT_VERSION:
            raise WeightsError(f"format_version must be {FORMAT_VERSION}, got {version!r}")
        try:
            manifest = cls(
                architecture=Architecture.from_dict(document["architecture"]),
                labels=LabelSet.from_list(document["classes"], document["ignore_index"]),
                preprocessing=_preprocessing(document["preprocessing"]),
                license=document["license"],
                training=document["training"],
                scores=document["scores"],
                temperature=_temperature(document),
            )
        except WeightsError:
            raise
        except KeyError as error:
            raise WeightsError(f"the header lacks {error}") from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise WeightsError(f"the header is wrong: {error}") from error
        if len(manifest.labels) != manifest.architecture.num_classes:
            counts = f"{manifest.architecture.num_classes} classes, its label set {len(manifest.labels)}"
            raise WeightsError(f"the header is wrong: the network has {counts}; both need one number")
        return manifest


@dataclass(frozen=True)
class Weights:
    """A file's content: its name (without folder and ending), sha256, manifest and tensors."""

    name: str
    sha256: str
    manifest: Manifest
    tensors: Mapping[str, Tensor]

    @property
    def identity(self) -> dict[str, str]:
        """What answers say of the model."""
        return {"name": self.name, "sha256": self.sha256}

    def network(self) -> FCN:
        """The network with these tensors in float32, in evaluation mode; raises `WeightsError` where they don't fit."""
        net = build_network(self.manifest.architecture)
        wanted = net.state_dict()
        if difference := sorted(set(wanted) ^ set(self.tensors)):
            raise WeightsError(f"{self.name}: {len(difference)} tensors are missing or unknown, {difference[0]} first")
        for name, tensor in wanted.items():
            if tensor.shape != self.tensors[name].shape:
                shapes = f"{tuple(tensor.shape)}, got {tuple(self.tensors[name].shape)}"
                raise WeightsError(f"{self.name}: {name} must have shape {shapes}")
        net.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in self.tensors.items()})
        return net.eval()


def find_weights(name: str) -> Path:
    """The file of this path, or of this name in `weights/`; raises `WeightsError` with the names there are."""
    for path in (Path(name), WEIGHTS_FOLDER / name, WEIGHTS_FOLDER / f"{name}.safetensors"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in WEIGHTS_FOLDER.glob("*.safetensors"))) or "none"
    raise WeightsError(f"no weights file {name!r}; give a file's path or a name in {WEIGHTS_FOLDER} (there: {names})")


def load_weights(path: Path) -> Weights:
    """Reads and checks a weights file, without unpickling anything; raises `WeightsError`."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from error
    if METADATA_KEY not in metadata:
        raise WeightsError(f"{path} has no {METADATA_KEY!r} in its header; was it written by fcn-train?")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Weights(path.stem, sha256, Manifest.from_json(metadata[METADATA_KEY]), tensors)


def save_weights(path: Path, net: FCN, manifest: Manifest) -> None:
    """Writes the network's tensors as float16 (integers as they are), atomically."""
    save_tensors(path, half_tensors(net), manifest)


def half_tensors(net: FCN) -> dict[str, Tensor]:
    """The network's tensors as a weights file holds them, in host memory."""
    state = net.state_dict().items()
    return {n: t.detach().cpu().to(torch.float16 if t.is_floating_point() else t.dtype) for n, t in state}


def save_tensors(path: Path, tensors: Mapping[str, Tensor], manifest: Manifest) -> None:
    """Writes tensors as they are, and the manifest, atomically."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(save({n: t.contiguous() for n, t in tensors.items()}, {METADATA_KEY: manifest.to_json()}))
    partial.replace(path)


def _preprocessing(values: Mapping[str, Any]) -> Preprocessing:
    arguments: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Preprocessing(**arguments)


def _temperature(document: Mapping[str, Any]) -> float | None:
    temperature = document.get("calibration", {}).get("temperature")
    if temperature is not None and not temperature > 0:
        raise WeightsError(f"the calibration temperature must be above 0, got {temperature!r}")
    return None if temperature is None else float(temperature)
