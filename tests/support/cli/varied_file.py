"""The file of the varied network, where PyTorch is there to make it."""

from __future__ import annotations

from pathlib import Path

import pytest


def varied_file(folder: Path) -> Path:
    """Writes the network into the folder and gives its file; skips the test without PyTorch."""
    pytest.importorskip("torch", reason="PyTorch makes the network")
    from tests.support.cli.varied import write_varied

    path = folder / "varied.safetensors"
    write_varied(path)
    return path
