"""A narrow network whose float32 rounding errors stay small, so that two ways to one result can be compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.labels import numbered_labels
from model.preprocessing import Preprocessing
from model.weights_file import Manifest, Weights, load_weights, save_weights
from tests.conftest import NAMES, narrow_net
from tests.model.nets import settle


@pytest.fixture(scope="session")
def narrow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The narrow network's weights file; its advised longer side is 64 to 128."""
    net = settle(narrow_net())
    manifest = Manifest(net.architecture, numbered_labels(NAMES), Preprocessing(side=(64, 128)), "Apache-2.0")
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    save_weights(path, net, manifest)
    return path


@pytest.fixture(scope="session")
def narrow(narrow_file: Path) -> Weights:
    return load_weights(narrow_file)
