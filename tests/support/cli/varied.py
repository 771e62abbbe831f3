"""The narrow network with all of its classes in most images, and with more bands than photos have."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.harness.narrow import narrow_net
from model.labels import numbered_labels
from model.manifest import Manifest
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import save_weights
from training.data.demo import NAMES
from training.publishing.export_files import export_float32

WIDE = ("red", "green", "blue", "near infrared", "height")
MEANS = (-0.5855, 1.0933, 0.2839, -0.2198)
"""The narrow network's mean logits over a photo."""


def write_varied(path: Path) -> None:
    """Writes the network's master, its float32 export beside it. Its own biases would give nearly every pixel one class."""
    net = narrow_net()
    with torch.no_grad():
        net.state_dict()["score_pool3.bias"].sub_(torch.tensor(MEANS))
    manifest = Manifest(net.architecture, numbered_labels(NAMES), Preprocessing(side=(64, 128)), "Apache-2.0")
    save_weights(path, half_tensors(net), manifest)
    export_float32(path)


def write_wide(path: Path) -> None:
    """Writes the master of the network that sees the bands `WIDE`."""
    net = narrow_net(bands=len(WIDE))
    manifest = Manifest(net.architecture, numbered_labels(NAMES), Preprocessing(side=(64, 128)).of_bands(WIDE), "Apache-2.0")
    save_weights(path, half_tensors(net), manifest)
