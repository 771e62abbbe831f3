"""The narrow network with more bands than photos have."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.narrow import narrow_net
from model.labels import numbered_labels
from model.manifest import Manifest
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import save_weights
from training.data.demo import NAMES

WIDE = ("red", "green", "blue", "near infrared", "height")


def write_wide(path: Path) -> None:
    """Writes the master of the network that sees the bands `WIDE`."""
    net = narrow_net(bands=len(WIDE))
    manifest = Manifest(net.architecture, numbered_labels(NAMES), Preprocessing(side=(64, 128)).of_bands(WIDE), "Apache-2.0")
    save_weights(path, half_tensors(net), manifest)
