"""The command for scenes with a narrow network that gives every class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.networks import loading_once


@pytest.fixture(scope="session")
def narrow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="PyTorch makes the network")
    from tests.support.cli.varied import write_varied

    path = tmp_path_factory.mktemp("varied") / "varied.safetensors"
    write_varied(path)
    return path


@pytest.fixture(autouse=True, scope="module")
def loaded_scene_networks() -> Iterator[None]:
    """The command loads a network once for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cli.scenes.command.load_runtime", loading_once())
        yield
