"""The program that `fcn-export --for onnxruntime` writes gives the masks of the service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.inference.segmenter import Segmenter
from tests.support.checkout import ROOT
from tests.support.variants import long

NAME = "voc-fcn8s-mobilenet-v2"
PROGRAM = (ROOT / "training" / "publishing" / "run_onnx.py.txt").read_text()


@pytest.mark.parametrize(("width", "height", "least"), [(512, 384, 0.9999), (700, 500, 0.97), *long((500, 375, 0.99))])
def test_the_program_gives_the_mask_of_the_service(tmp_path: Path, width: int, height: int, least: float) -> None:
    (tmp_path / f"{NAME}.onnx").symlink_to(ROOT / "weights" / f"{NAME}.onnx")
    (tmp_path / f"{NAME}.run.py").write_text(PROGRAM)
    with Image.open(ROOT / "docs" / "photos" / "chelsea.jpg") as photo:
        photo.convert("RGB").resize((width, height)).save(tmp_path / "photo.png")
    command = [sys.executable, f"{NAME}.run.py", "photo.png", "mask.png"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "'cat'" in result.stdout
    ours = Segmenter.from_weights(NAME, "cpu", precision="float32", threads=1)(tmp_path / "photo.png")
    theirs = np.asarray(Image.open(tmp_path / "mask.png"))
    assert (ours.class_map == theirs).mean() >= least
