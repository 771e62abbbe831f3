"""The command with the narrow network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cli.main import main
from tests.cli.files import Segment


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    """Puts back the number of threads, which the command sets for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(narrow_file: Path) -> Segment:
    """Runs the command with the narrow network; gives its exit status."""

    def run(*arguments: object) -> int:
        options = ["--weights", str(narrow_file), "--device", "cpu", "--dtype", "float32", "--threads", "1"]
        return main([*map(str, arguments), *options])

    return run
