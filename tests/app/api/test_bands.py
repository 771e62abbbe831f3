"""A service with a network of five bands answers georeferenced TIFFs, and refuses photos in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.narrow import narrow_net
from model.preprocessing import Preprocessing
from tests.support.app.exchanges import PHOTO, assert_problem, pixels, post
from tests.support.app.services import Serve
from tests.support.classes import NAMES
from tests.support.imaging.scenes import scene_file
from tests.support.model.weights_files import save_net

WIDE = ("red", "green", "blue", "near infrared", "height")


pytestmark = pytest.mark.torch


def test_five_bands(serve: Serve, tmp_path: Path) -> None:
    preprocessing = Preprocessing(side=(64, 128)).of_bands(WIDE)
    save_net(tmp_path / "wide.safetensors", narrow_net(bands=len(WIDE)), NAMES, preprocessing)
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
