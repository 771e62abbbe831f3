"""The command for scenes with a narrow network that gives every class."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def narrow_file(varied_file: Path) -> Path:
    return varied_file
