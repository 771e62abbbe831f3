"""Photos through the default weights: golden masks and the samples of the page."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model.inference.loading import load_runtime
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files, find_weights, load_weights
from tests.support.checkout import ROOT

PHOTOS, SAMPLES, GOLDEN = ROOT / "docs" / "photos", ROOT / "app" / "static" / "samples", ROOT / "tests" / "golden"
CLASSES = {"chelsea": "cat", "cows": "cow", "dog": "dog"}


@pytest.mark.parametrize(
    ("runtime", "precision", "agreement"),
    [
        ("openvino", "float32", 0.995),
        pytest.param("torch", "float32", 0.995, marks=pytest.mark.torch),
        ("openvino", "int8", 0.98),
    ],
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


def test_each_sample_of_the_page_shows_its_class_and_no_other() -> None:
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), "openvino", "cpu", "float32"))
    names = segmenter.manifest.labels.names
    assert {path.stem for path in SAMPLES.glob("*.jpg")} == set(CLASSES)
    for sample, expected in CLASSES.items():
        counts = np.bincount(segmenter(SAMPLES / f"{sample}.jpg").class_map.ravel(), minlength=len(names))
        shares = {name: count / counts.sum() for name, count in zip(names, counts, strict=True)}
        assert shares[expected] > 0.15
        assert sum(share for name, share in shares.items() if name not in ("background", expected)) < 0.002
