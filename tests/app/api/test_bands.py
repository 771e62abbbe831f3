"""A service with a network of five bands answers georeferenced TIFFs, and refuses photos in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.narrow import narrow_net
from model.labels import numbered_labels
from model.manifest import Manifest
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import save_weights
from tests.support.app.exchanges import PHOTO, assert_problem, pixels, post
from tests.support.app.services import Serve
from tests.support.imaging.scenes import scene_file
from training.data.demo import NAMES

WIDE = ("red", "green", "blue", "near infrared", "height")


def write_wide(path: Path) -> None:
    """Writes the master of the network that sees the bands `WIDE`."""
    net = narrow_net(bands=len(WIDE))
    manifest = Manifest(net.architecture, numbered_labels(NAMES), Preprocessing(side=(64, 128)).of_bands(WIDE), "Apache-2.0")
    save_weights(path, half_tensors(net), manifest)


pytestmark = pytest.mark.torch


def test_five_bands(serve: Serve, tmp_path: Path) -> None:
    write_wide(tmp_path / "wide.safetensors")
    rng = np.random.default_rng(0)
    scene = scene_file(rng.integers(0, 256, (90, 130, len(WIDE)), np.uint8))
    with serve(weights=str(tmp_path / "wide.safetensors"), runtime="torch") as client:
        assert client.get("/info").json()["preprocessing"]["bands"] == list(WIDE)
        for format in ("png", "overlay", "grey"):
            response = post(client, scene, format=format)
            assert response.status_code == 200, response.text
            assert pixels(response.content).shape[:2] == (90, 130)
        assert post(client, scene, format="geojson").json()["type"] == "FeatureCollection"
        assert_problem(post(client, PHOTO), 415, "needs a georeferenced TIFF")
        three = scene_file(rng.integers(0, 256, (40, 50, 3), np.uint8))
        assert_problem(post(client, three), 415, "has 3 bands, and the network sees 5")
