"""The command in a process of its own, with the narrow network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.checkout import ROOT, SEGMENT


def command(narrow_file: Path, *arguments: object) -> list[str]:
    options = ["--weights", narrow_file, "--device", "cpu", "--precision", "float32", "--threads", 1]
    return [sys.executable, "-c", SEGMENT, *map(str, [*arguments, *options])]


def environment(**changes: str) -> dict[str, str]:
    """The environment in which the command runs from any folder."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | changes
