"""On photographs the confidence map is that of the softmax of every pixel's logits, which would take many times as long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files
from tests.support.checkout import ROOT

PHOTOS = sorted((ROOT / "docs" / "photos").glob("*.jpg"))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), "openvino", "cpu", "float32", threads=1))


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_confidence_is_nearly_the_exact_one(path: Path, segmenter: Segmenter) -> None:
    data = path.read_bytes()
    plan = segmenter.plan(data, Options(rendering=Rendering("confidence")))
    image = segmenter.decode(data, plan)
    segmentation = segmenter.infer(image, plan)
    assert segmentation.confidence is not None
    exact = []
    for rows in segmenter.rows(image, plan):
        for _, part in rows.logits():
            logits = part.astype(np.float64) / segmenter.temperature
            exact.append(1 / np.exp(logits - logits.max(0)).sum(0))
    differences = np.abs(np.rint(255 * np.concatenate(exact)) - segmentation.confidence)
    assert np.median(differences) == 0
    assert np.percentile(differences, 99) <= 2
    class_map, probability = segmentation.class_map, np.concatenate(exact)
    for index in np.unique(class_map):
        assert segmentation.mean_confidence[index] == pytest.approx(probability[class_map == index].mean(), abs=2e-3)
