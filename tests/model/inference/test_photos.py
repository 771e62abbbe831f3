"""Photos through the default weights: tiles merged as cells against tiles merged pixel by pixel, and no PyTorch needed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files
from tests.support.checkout import ROOT

PHOTOS, SAMPLES = ROOT / "docs" / "photos", ROOT / "app" / "static" / "samples"
CLASSES = {"chelsea": "cat", "cows": "cow", "dog": "dog"}


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    """The default weights, in float32 on the CPU."""
    return load_runtime(find_files(DEFAULT_WEIGHTS), "openvino", "cpu", "float32")


def test_each_sample_of_the_page_shows_its_class_and_no_other(runtime: Runtime) -> None:
    segmenter = Segmenter(runtime)
    names = runtime.manifest.labels.names
    assert {path.stem for path in SAMPLES.glob("*.jpg")} == set(CLASSES)
    for sample, expected in CLASSES.items():
        counts = np.bincount(segmenter(SAMPLES / f"{sample}.jpg").class_map.ravel(), minlength=len(names))
        shares = {name: count / counts.sum() for name, count in zip(names, counts, strict=True)}
        assert shares[expected] > 0.15
        assert sum(share for name, share in shares.items() if name not in ("background", expected)) < 0.002


def test_segmenting_a_photo_imports_no_torch() -> None:
    program = """
import sys
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files
segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), "openvino"))
data = open("docs/photos/chelsea.jpg", "rb").read()
print(segmenter.segment(data, segmenter.plan(data, Options())).body[1:4].decode(), "torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.split() == ["PNG", "False"]
