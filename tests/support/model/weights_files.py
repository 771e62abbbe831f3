"""Weights files taken apart, and written with other contents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.labels import numbered_labels
from model.manifest import METADATA_KEY, Manifest
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import save_weights

Document = dict[str, Any]


def save_net(path: Path, net: FCN, names: Sequence[str], preprocessing: Preprocessing | None = None) -> Manifest:
    """Writes the master of a network with classes of these names."""
    manifest = Manifest(net.architecture, numbered_labels(names), preprocessing or Preprocessing(), "Apache-2.0")
    save_weights(path, half_tensors(net), manifest)
    return manifest


def content(path: Path) -> tuple[Document, dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[METADATA_KEY]), {name: file.get_tensor(name) for name in list(file.keys())}


def write_edited(folder: Path, document: object, tensors: dict[str, Tensor]) -> Path:
    path = folder / "edited.safetensors"
    save_file(tensors, path, {METADATA_KEY: document if isinstance(document, str) else json.dumps(document)})
    return path
