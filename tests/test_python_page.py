"""The page about Python: its programs with a `Segmenter` run, and give what the page says."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.checkout import ROOT
from tests.support.pages import blocks

PAGE = (ROOT / "docs" / "python.md").read_text().split("## The client")[0]
CHECKS = """
assert segmentation.class_map.shape == confident.confidence.shape == (300, 451)
assert outer and cutout.mode == "RGBA" and cutout.width <= 451
"""


def test_the_programs_run() -> None:
    program = "".join(blocks(PAGE, "python"))
    command = [sys.executable, "-c", program + CHECKS]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^8 cat [1-9]\d%$", result.stdout, re.MULTILINE)
    assert re.search(r"^\d+ points \d+ holes$", result.stdout, re.MULTILINE)
