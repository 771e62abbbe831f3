"""Class ids as GeoTIFF: what GDAL reads is what was written, with place, palette, names and overviews."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from imaging.georeferenced import raster
from imaging.georeferenced.place import Place
from imaging.georeferenced.raster import BLOCK, read_key, write_raster
from model.labels import numbered_labels
from tests.support.disks import disk_for_files_of
from tests.support.imaging.scenes import UTM, north_up

LABELS = numbered_labels(["background", "tree", "road"])
FACTS = LABELS, {"FCN_KEY": "abc"}
IDS = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (BLOCK + 300, 2 * BLOCK + 7))


def place(transform: Affine | None = None, crs: str | None = UTM) -> Place:
    return Place((IDS.shape[0], IDS.shape[1]), transform or north_up(), CRS.from_user_input(crs) if crs else None)


@pytest.mark.parametrize("cog", [False, True])
def test_gdal_reads_what_was_written(tmp_path: Path, cog: bool) -> None:
    path = tmp_path / "a.tif"
    pieces = [IDS[:100], IDS[100:101], IDS[101:]]
    write_raster(path, place(), pieces, *FACTS, cog=cog)
    with rasterio.open(path) as file:
        assert (file.read(1) == IDS).all()
        assert (file.crs.to_string(), file.transform, file.nodata) == (UTM, north_up(), 255)
        assert file.profile["tiled"]
        assert file.compression.name == "deflate"
        assert file.overviews(1) == [2, 4]
        assert file.colormap(1)[1] == (*LABELS.palette[1], 255)
        assert [file.tags(1)[f"CLASS_{i}"] for i in range(3)] == LABELS.names
        assert file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == ("COG" if cog else None)
        half = file.read(1, out_shape=(IDS.shape[0] // 2, IDS.shape[1] // 2))
        assert set(np.unique(half)) <= {0, 1, 2, 255}
    assert os.listdir(tmp_path) == ["a.tif"]
    assert read_key(path) == "abc"
    assert read_key(tmp_path / "none.tif") is None
    write_raster(tmp_path / "b.tif", place(), [IDS], *FACTS, cog=cog)
    assert (tmp_path / "b.tif").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (north_up() @ Affine.rotation(30), UTM),
        (north_up(1.0, (980_000, 200_000)), "EPSG:2263"),
        (Affine.translation(179.99, 10) @ Affine.scale(1e-5, -1e-5), "EPSG:4326"),
        (Affine.identity(), None),
    ],
)
def test_any_place_is_kept(tmp_path: Path, transform: Affine, crs: str | None) -> None:
    write_raster(tmp_path / "a.tif", place(transform, crs), [IDS], *FACTS)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.transform.almost_equals(transform)
        assert (file.crs.to_string() if file.crs else None) == crs
    assert os.listdir(tmp_path) == ["a.tif"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_row_alone_and_a_column_alone_are_rasters(tmp_path: Path) -> None:
    for shape in ((1, 700), (700, 1)):
        ids = IDS[: shape[0], : shape[1]]
        write_raster(tmp_path / "a.tif", Place(shape, north_up(), CRS.from_user_input(UTM)), [ids], *FACTS)
        with rasterio.open(tmp_path / "a.tif") as file:
            assert (file.read(1) == ids).all()


@pytest.mark.parametrize("cog", [False, True])
def test_a_full_disk_is_an_error(tmp_path: Path, cog: bool) -> None:
    with disk_for_files_of(100_000), pytest.raises(OSError, match=r"a\.tif"):
        write_raster(tmp_path / "a.tif", place(), [IDS], *FACTS, cog=cog)
    assert not list(tmp_path.glob("*plain*"))


def test_a_file_that_is_not_what_was_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "_add_overviews", lambda path, place: write_raster_of_zeros(path))
    with pytest.raises(OSError, match="rows 0 to 512 are not what was written"):
        write_raster(tmp_path / "a.tif", place(), [IDS], *FACTS)


def write_raster_of_zeros(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        file.write(np.zeros_like(IDS), 1)
