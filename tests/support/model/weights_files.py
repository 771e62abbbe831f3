"""Weights files taken apart, and written with other contents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.manifest import METADATA_KEY

Document = dict[str, Any]


def content(path: Path) -> tuple[Document, dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[METADATA_KEY]), {name: file.get_tensor(name) for name in list(file.keys())}


def write_edited(folder: Path, document: object, tensors: dict[str, Tensor]) -> Path:
    path = folder / "edited.safetensors"
    save_file(tensors, path, {METADATA_KEY: document if isinstance(document, str) else json.dumps(document)})
    return path
