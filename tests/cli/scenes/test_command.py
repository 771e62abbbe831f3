"""`fcn-segment scene.tif -o out.tif`: the pixels of the whole scene, its place, and words for what is not done."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from imaging.classes import VOID
from imaging.georeferenced import raster
from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from tests.support.cli.commands import command, environment
from tests.support.cli.folders import Segment
from tests.support.images import make_photo
from tests.support.imaging.scenes import UTM, north_up, source, vrt, write_scene

PHOTO = make_photo(430, 310)
TILE = ("--tile", "128")
TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64}


def classes(segmenter: Segmenter, pixels: Any, **options: Any) -> Any:
    return segmenter(pixels, Options(tile=(128, 128), side="native", **options)).class_map


def read(path: Path) -> Any:
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.mark.parametrize("extra", [[], ["--cog"]])
def test_a_scene_has_the_classes_of_the_whole_and_its_place(
    run: Segment, segmenter: Segmenter, tmp_path: Path, extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "a.tif", PHOTO, **TILED)
    assert run(scene, "-o", tmp_path / "maps" / "out.tif", *TILE, *extra) == 0
    with rasterio.open(tmp_path / "maps" / "out.tif") as file:
        assert (file.read(1) == classes(segmenter, PHOTO)).all()
        assert (file.crs.to_string(), file.transform, file.shape) == (UTM, north_up(), (430, 310))
        assert file.nodata == VOID
        assert file.tags(1)["CLASS_0"] == segmenter.manifest.labels.names[0]
        assert file.tags()["FCN_BANDS"] == "1, 2, 3"
    assert os.listdir(tmp_path / "maps") == ["out.tif"]
    assert "310 x 430 pixels, bands 1, 2, 3, 0.5 x 0.5 m a pixel" in capsys.readouterr().err


def test_infrared_that_the_file_calls_alpha_is_told_and_hides_nothing(
    run: Segment, segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared = np.maximum(PHOTO[:, :, :1], 1)
    infrared[:60] = 0
    scene, out = write_scene(tmp_path / "rgbn.tif", np.dstack([PHOTO, infrared])), tmp_path / "out.tif"
    assert run(scene, "-o", out, *TILE) == 0
    assert "band 4, which the file calls alpha" in capsys.readouterr().err
    assert (read(out) == classes(segmenter, PHOTO)).all()


def test_a_scale_beside_the_samples_is_told(run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_scene(tmp_path / "a.tif", PHOTO)
    assert run(scene, "-o", tmp_path / "out.tif", *TILE, "--scale", "0,1") == 0
    assert f"{scene}: the scale 0 to 1 gives nearly all samples of band 1, 2, 3 few shades" in capsys.readouterr().err


def test_the_service_s_answer_has_the_same_classes_also_beside_pixels_without_data(
    run: Segment, segmenter: Segmenter, tmp_path: Path
) -> None:
    mask = np.ones((430, 310), bool)
    mask[100:300, 50:250] = False
    scene = Path(write_scene(tmp_path / "a.tif", PHOTO, mask=mask))
    assert run(scene, "-o", tmp_path / "out.tif", *TILE) == 0
    options = Options(tile=(128, 128), side="native", rendering=Rendering("geotiff"))
    data = scene.read_bytes()
    with MemoryFile(segmenter.segment(data, segmenter.plan(data, options)).body) as memory, memory.open() as file:
        assert (file.read(1) == read(tmp_path / "out.tif")).all()


def test_bands_and_depths(run: Segment, segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twelve = PHOTO.astype(np.uint16) * 16
    four = np.dstack([twelve[:, :, ::-1], twelve[:, :, :1]])
    scene = write_scene(tmp_path / "a.tif", four, nbits=12)
    assert run(scene, "-o", tmp_path / "out.tif", *TILE, "--bands", "3,2,1", "--scale", "0,4080") == 0
    assert (read(tmp_path / "out.tif") == classes(segmenter, PHOTO)).all()
    assert run(scene, "-o", tmp_path / "scaled.tif", *TILE, "--bands", "3,2,1") == 0
    least, most = np.percentile(twelve[:, :, 0], [2, 98])
    assert f"bands 3 ({least:g} to {most:g}), 2 (" in capsys.readouterr().err
    with rasterio.open(tmp_path / "scaled.tif") as file:
        assert file.tags()["FCN_BANDS"].startswith(f"3 ({least:g} to {most:g})")


def test_pixels_need_no_size_on_the_ground(run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_scene(tmp_path / "a.tif", PHOTO[:40, :40], transform=north_up(1.0, (1e9, 1e9)))
    assert run(scene, "-o", tmp_path / "out.tif", *TILE) == 0
    assert "of unknown size on the ground: coordinates of EPSG:32632 cannot become" in capsys.readouterr().err
    for options in (["-o", tmp_path / "out.tif", "--gsd", "1"], ["-o", tmp_path / "out.gpkg"]):
        assert run(scene, *options, *TILE) == 2
        assert "cannot become longitude and latitude" in capsys.readouterr().err


def test_a_transform_alone_stays(run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = write_scene(tmp_path / "a.tif", PHOTO[:40, :40], crs=None), tmp_path / "out.tif"
    assert run(scene, "-o", out, *TILE) == 0
    assert f"{scene} has a transform and no coordinate system; {out} has the same transform" in capsys.readouterr().err
    with rasterio.open(out) as file:
        assert (file.crs, file.transform) == (None, north_up())


def test_a_scale_in_metres_shows_the_network_other_pixels(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "a.tif", PHOTO)
    assert run(scene, "-o", tmp_path / "out.tif", *TILE, "--gsd", "1") == 0
    assert "scaled to 155 x 215" in capsys.readouterr().err
    assert read(tmp_path / "out.tif").shape == (430, 310)


def test_a_damaged_block_keeps_what_is_finished_and_resume_goes_on(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 310, 3), np.uint8)
    path, out = tmp_path / "a.tif", tmp_path / "out.tif"
    write_scene(path, noise, compress="deflate", **TILED)
    assert run(path, "-o", tmp_path / "whole.tif", *TILE) == 0
    data, status = path.read_bytes(), path.stat()
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_2_12", "TIFF", bidx=1))
    path.write_bytes(data[:offset] + bytes(64) + data[offset + 64 :])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(path, "-o", out, *TILE) == 2
    message = capsys.readouterr().err
    assert "pixels 0, 768 to 310, 832 (column, row) cannot be read" in message
    assert "of 900 are kept in" in message
    assert not out.exists()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(path, "-o", out, *TILE, "--overlap", "0.5", "--resume") == 2
    assert "leave --resume out to begin again" in capsys.readouterr().err
    assert run(path, "-o", out, *TILE, "--resume") == 0
    assert out.read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "out.tif", "whole.tif"]
    time_ns = out.stat().st_mtime_ns
    assert run(path, "-o", out, *TILE, "--resume") == 0
    assert run(path, "-o", out, *TILE, "--resume", "--style") == 0
    assert capsys.readouterr().err.count("is done and up to date") == 2
    assert out.stat().st_mtime_ns == time_ns
    assert out.with_suffix(".qml").is_file()


def test_resume_begins_again_where_files_beside_the_scene_have_changed(run: Segment, tmp_path: Path) -> None:
    for name, inner in (("inner.vrt", "a.tif"), ("outer.vrt", "inner.vrt")):
        text = source(inner, kind="ComplexSource", more="<UseMaskBand>true</UseMaskBand>")
        (tmp_path / name).write_text(vrt(text, before="<SRS>EPSG:32632</SRS>"))
    grey = make_photo(96, 160)[:, :, 0]
    scene = write_scene(tmp_path / "a.tif", grey)

    def are_written() -> list[bool]:
        outs = {tmp_path / name: tmp_path / f"{name}.out.tif" for name in ("outer.vrt", "a.tif")}
        before = [out.stat().st_mtime_ns if out.exists() else 0 for out in outs.values()]
        assert [run(path, "-o", out, *TILE, "--resume") for path, out in outs.items()] == [0, 0]
        return [out.stat().st_mtime_ns != time for out, time in zip(outs.values(), before, strict=True)]

    assert [are_written(), are_written()] == [[True] * 2, [False] * 2]
    write_scene(tmp_path / "a.tif", 255 - grey)
    assert are_written() == [True] * 2
    write_scene(Path(f"{scene}.msk"), np.where(grey > 99, 255, 0).astype(np.uint8))
    assert are_written() == [True] * 2
    statistics = "<Histograms>9</Histograms><Metadata>\n<MDI key='STATISTICS_MEAN'>9</MDI></Metadata>"
    nodata, more = ("<NoDataValue>7</NoDataValue>", True), ("<NoDataValue>8</NoDataValue>", True)
    for text, is_new in ((statistics, False), nodata, (f"{nodata[0]}{statistics}", False), more, ("", True)):
        Path(f"{scene}.aux.xml").write_text(f"<PAMDataset><PAMRasterBand band='1'>{text}</PAMRasterBand></PAMDataset>")
        assert are_written() == [is_new] * 2, text
    Path(f"{scene}.aux.xml").write_text("<PAMDataset><SRS>EPSG:25832</SRS></PAMDataset>")
    assert are_written() == [True] * 2


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_end_of_the_writer_ends_the_threads_and_keeps_rows(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    scene, out = write_scene(tmp_path / "a.tif", make_photo(2000, 310), **TILED), tmp_path / "out.tif"
    threads = set(threading.enumerate())

    def failing(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(raster, "RasterioWindow", failing)  # once it has rows
        assert run(scene, "-o", out, *TILE) == (130 if isinstance(error, KeyboardInterrupt) else 2)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"fcn-segment: rows 0 to \d+ of 2000 are kept in .*; --resume goes on", lines[-2])
    assert not [
        thread.name for thread in set(threading.enumerate()) - threads if thread.name.startswith(("scene ", "runtime-"))
    ]
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "out.tif.rows"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.tif", "-o", "out.tif", "--bands", "1,2,9"], "has no band 9: it has the bands 1, 2, 3"),
        (["a.tif", "-o", "out.tif", "--quality", "high"], "--quality is not for -o out.tif: scenes do not have it"),
        (["a.tif", "-o", "out.tif", "--side", "native"], "--gsd METRES scales them"),
        (["a.tif", "-o", "out.tif", "--gsd", "0.01"], "pixels of 0.01 m enlarge"),
        (["a.tif", "-o", "out.tif", "--gsd", "300"], "310x430 pixels would become 1x1, and the network needs 32 along the"),
        (["a.tif", "-o", "out.tif", "--min-area", "5m2"], "it applies to polygons"),
        (["a.tif", "-o", "out.tif", "--server", "http://localhost"], "leave it out, or add --job"),
        (["a.tif", "-o", "a.tif"], "would overwrite the scene"),
        (["a.tif", "a.tif", "-o", "out.tif"], "takes one scene, got 2; give --scenes tif and a folder"),
        (
            ["a.tif", "-o", "out.tif", "--extent", "1,2,3,4"],
            "extent needs the system of its numbers, such as 1,2,3,4,EPSG:4326",
        ),
        (["b.tif", "-o", "out.tif"], "no file 'b.tif'"),
        ([".", "-o", "out.tif"], "'.' is a folder; -o out.tif takes one scene"),
        (["b*.tif", "-o", "out", "--scenes", "tif"], "no scenes in 'b*.tif'"),
        (["a.tif", "-o", "mask.png", "--bands", "1,2,3"], "--bands is for scenes"),
        (["a.tif", "-o", "mask.png", "--min-area", "5m2"], "--min-area in m2 is for polygons of scenes"),
        (["text.tif", "-o", "out.tif"], "is not read as a scene"),
        (["cut.tif", "-o", "out.tif"], "cut.tif cannot be read"),  # without a warning of Pillow
        (["nowhere.tif", "-o", "out.tif", "--gsd", "1"], "nowhere.tif has no coordinate system"),
        (["nowhere.tif", "-o", "out.geojson"], "nowhere.tif has no coordinate system"),
        (["a.tif", "-o", "out.gpkg", "--min-area", "200"], "is in square metres, such as 5m2"),
        (["a.tif", "-o", "b.tif", "-o", "b.tiff"], "-o b.tif and -o b.tiff would have the same content; give one of them"),
        (["a.tif", "-o", "a.png", "-o", "b.png"], "-o a.png and -o b.png: several outputs are for a scene, and end in .tif"),
        (["a.tif", "-o", "b.tif", "-o", "b.gpkg", "--style"], "would have one style; give them different names, or leave"),
        (["a.tif", "-o", "b.gpkg", "-o", "b.geojson", "--cog"], "--cog is for rasters"),
        (["a.tif", "-o", "b.tif", "-o", "c.gpkg", "--classes", "unicorn"], "unicorn"),
        (["a.tif", "-o", "maps", "-o", "more", "--scenes", "tif"], "to one folder, got -o maps and -o more"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_line(
    run: Segment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scene("a.tif", PHOTO)
    write_scene("nowhere.tif", PHOTO, crs=None)
    Path("text.tif").write_text("no raster")
    with rasterio.open(write_scene("cut.tif", PHOTO), "r+") as file:
        file.build_overviews([2])
    os.truncate("cut.tif", 300_000)
    try:
        with warnings.catch_warnings(record=True) as records:
            warnings.simplefilter("always", UserWarning)
            status = run(*arguments)
        assert records == []
    except SystemExit as end:
        status = end.code  # type: ignore[assignment]
    assert status == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir()) == ["a.tif", "cut.tif", "nowhere.tif", "text.tif"]


@pytest.mark.long
def test_memory_has_a_limit_that_the_area_exceeds(narrow_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=3000, height=40_000, count=3, dtype="uint8", crs=UTM, transform=north_up(), nodata=0,
        SPARSE_OK=True, **TILED,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(make_photo(256, 256), 2, 0), window=rasterio.windows.Window(0, 39_000, 256, 256))
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({700 << 20}, {700 << 20})); "
    words = command(narrow_file, path, "-o", tmp_path / "out.tif", *TILE)
    words[2] = limit + words[2]
    result = subprocess.run(words, env=environment(MALLOC_ARENA_MAX="2"), stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 0, result.stderr
    ids = read(tmp_path / "out.tif")
    assert (ids[:39_000] == VOID).all()
    assert (ids[39_000:39_256, :256] != VOID).any()


def test_scenes_of_folders_and_patterns_have_a_file_each(run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("geo/a.tif", "geo/more/b.TIF", "u1.tif", "u2.tif", "v.tif", "geo/maps/old.tif"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_scene(Path(name), make_photo(40, 50))
    assert run("geo", "u*.tif", "-o", "geo/maps", "--scenes", "geojson", *TILE) == 0
    assert sorted(os.listdir("geo/maps")) == ["a.geojson", "b.geojson", "old.tif", "u1.geojson", "u2.geojson"]
