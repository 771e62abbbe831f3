"""The checkout, and its commands as users call them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.polling import LONGEST_S

ROOT = Path(__file__).parents[2]
SEGMENT = "import sys; from cli.start import segment; sys.exit(segment())"  # as `fcn-segment` does


def without_setup(commands: str) -> str:
    """The commands, with what `make test` has installed taken as it is: set up from here, it would point here."""
    return commands.replace("make ", "make -o .venv/.dev-ready -o .venv/.serve-ready -o .venv/.serve-ready-gpu ")


def run(commands: str, folder: Path, seconds: float = LONGEST_S) -> None:
    """Runs shell commands, which must succeed within so many seconds."""
    result = subprocess.run(["bash", "-euc", commands], cwd=folder, capture_output=True, text=True, timeout=seconds)
    assert result.returncode == 0, result.stderr
