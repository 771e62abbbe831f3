"""The default weights on free photos: golden masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.inference.loading import load_runtime
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files, find_weights, load_weights
from tests.support.checkout import ROOT

PHOTOS = ROOT / "docs" / "photos"
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("runtime", "precision", "agreement"),
    [("openvino", "float32", 0.995), ("torch", "float32", 0.995), ("openvino", "int8", 0.98)],
)
def test_golden_masks_do_not_change(runtime: str, precision: str, agreement: float) -> None:
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), runtime, "cpu", precision))
    for name in ("chelsea", "astronaut"):
        mask = segmenter(PHOTOS / f"{name}.jpg").class_map
        golden = np.asarray(Image.open(GOLDEN / f"{name}.png"))
        assert (mask == golden).mean() >= agreement
        assert {0, *np.unique(golden)} == {0, *np.unique(mask)}


def test_the_default_file_is_small_and_of_21_classes() -> None:
    path = find_weights(DEFAULT_WEIGHTS)
    assert path.stat().st_size < 20e6
    weights = load_weights(path)
    assert len(weights.manifest.labels) == 21
    assert weights.manifest.license == "Apache-2.0"
    assert path.with_suffix(".md").read_text().count(weights.sha256) == 1
