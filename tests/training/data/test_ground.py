"""The size of a pixel on the ground, as `tiles.geojson` has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.data.map_files import TILES, read_gsd
from training.data.problems import DataError


def gsd_of(folder: Path, document: Any) -> float | None:
    (folder / TILES).write_text(json.dumps(document))
    return read_gsd(folder)


def test_scenes_of_one_scale_have_a_gsd_and_photos_none(tmp_path: Path) -> None:
    assert read_gsd(tmp_path) is None
    for pixels, gsd in (([[0.5, 0.5]], 0.5), ([[0.5, 0.5], [0.5, 0.54]], 0.52)):
        assert gsd_of(tmp_path, {"scenes": [{"pixel_m": pixel} for pixel in pixels]}) == pytest.approx(gsd, rel=1e-2)
    for others in ([[0.5, 0.5], [0.1, 0.1]], [[0.3, 0.6]], [[0.5, 0.5], None], []):
        assert gsd_of(tmp_path, {"scenes": [{"pixel_m": pixel} for pixel in others]}) is None
    for document in ({}, [], {"scenes": [{}]}, {"scenes": ["a.tif"]}, {"scenes": 5}, {"scenes": True}):
        assert gsd_of(tmp_path, document) is None


@pytest.mark.parametrize("pixel", ["a", [0.5], [0, 1], [-1, -1], ["a", "b"], [True, True], [10**400, 1], [1e-200, 1e-200]])
def test_sizes_that_are_none_are_named(tmp_path: Path, pixel: Any) -> None:
    with pytest.raises(DataError, match=r"tiles\.geojson: pixel_m must be the height and width of a pixel in metres"):
        gsd_of(tmp_path, {"scenes": [{"pixel_m": pixel}]})


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / TILES).write_text("no")
    with pytest.raises(DataError, match=r"tiles\.geojson is not JSON"):
        read_gsd(tmp_path)
