"""The command for scenes with a narrow network that gives every class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.networks import loading_once


@pytest.fixture(scope="session")
def narrow_file(varied_file: Path) -> Path:
    return varied_file


@pytest.fixture(autouse=True, scope="module")
def loaded_scene_networks() -> Iterator[None]:
    """The command loads a network once for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cli.scenes.command.load_runtime", loading_once())
        yield
