"""The page about our networks in other runtimes: its program gives the masks of the service."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.inference.segmenter import Segmenter
from tests.support.checkout import ROOT

PAGE = (ROOT / "docs" / "onnx.md").read_text()


@pytest.mark.parametrize(("width", "height", "least"), [(512, 384, 1.0), (500, 375, 0.99), (700, 500, 0.97)])
def test_the_program_gives_the_mask_of_the_service(checkout: Path, width: int, height: int, least: float) -> None:
    with Image.open(ROOT / "docs" / "photos" / "chelsea.jpg") as photo:
        photo.convert("RGB").resize((width, height)).save(checkout / "photo.png")
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    result = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=True)
    assert "'cat'" in result.stdout
    ours = Segmenter.from_weights("voc-fcn8s-mobilenet-v2", "cpu", precision="float32", threads=1)(checkout / "photo.png")
    theirs = np.asarray(Image.open(checkout / "mask.png"))
    assert (ours.class_map == theirs).mean() >= least
