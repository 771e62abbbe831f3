"""The command with the narrow network."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from tests.cli.files import Segment


@pytest.fixture
def run(narrow_file: Path) -> Segment:
    """Runs the command with the narrow network; gives its exit status."""

    def run(*arguments: object) -> int:
        options = ["--weights", str(narrow_file), "--device", "cpu", "--precision", "float32", "--threads", "1"]
        return main([*options, *map(str, arguments)])

    return run
