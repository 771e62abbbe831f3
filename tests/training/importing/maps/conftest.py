"""`fcn-import --raster` in the test's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.training.maps import ImportMaps
from training.commands.import_labels import main


@pytest.fixture
def import_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> ImportMaps:
    def run(rasters: Path | Sequence[Path], vector: Path, *more: object, status: int = 0) -> str:
        scenes = [rasters] if isinstance(rasters, Path) else rasters
        arguments = ["--raster", *scenes, "--vector", vector, "--field", "class", "--tile", 64, "--out", tmp_path / "data"]
        capsys.readouterr()
        assert main([*map(str, arguments), *map(str, more)]) == status
        printed = capsys.readouterr()
        return printed.err if status else printed.out

    return run
