"""What is at the names that a scene's result would take: what no run wrote stays, and no link of a name of ours is followed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely

from imaging.georeferenced.layers import other_tables
from tests.support.cli.commands import command, environment
from tests.support.cli.folders import Segment
from tests.support.images import make_photo
from tests.support.imaging.scenes import UTM, north_up, source, vrt, write_scene
from tests.support.polling import wait_until

TILE = ("--tile", "128")
SQUARE = np.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))], object)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_scene(tmp_path_factory.mktemp("scene") / "a.tif", make_photo(200, 150))


def add_layer(path: Path, name: str) -> None:
    pyogrio.raw.write(
        path, SQUARE, [np.array([1], np.int32)], ["class_id"], layer=name, driver="GPKG", geometry_type="Polygon", crs=UTM,
        append=path.exists(),
    )  # fmt: skip


def two_layers(path: Path) -> None:
    add_layer(path, "roads")
    add_layer(path, "houses")


def add_table(path: Path) -> None:
    add_layer(path, "objects")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE layer_styles (styleQML TEXT)")


def colours(path: Path) -> None:
    write_scene(path, make_photo(20, 30))


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "out.gpkg": (two_layers, "the layers or tables houses, roads"),
    "table.gpkg": (add_table, "the layers or tables layer_styles"),
    "same.gpkg": (lambda path: add_layer(path, "objects"), "the layer objects of another program, or changed"),
    "text.gpkg": (lambda path: path.write_text("no database"), "no layers that can be read"),
    "out.geojson": (lambda path: path.write_text('{"type": "FeatureCollection", "features": []}'), "what this command did not"),
    "deep.geojson": (lambda path: path.write_text('{"a":' * 3000 + "1,"), "what this command did not"),
    "out.tif": (colours, "what this command did not"),
    "text.tif": (lambda path: path.write_text("no raster"), "what this command did not"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_no_run_wrote_is_kept_and_told_before_the_run(
    run: Segment, scene: str, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, words = OTHERS[name]
    out = tmp_path / name
    write(out)
    former = out.read_bytes()
    for again in ([], ["--resume"]):
        assert run(scene, "-o", out, *TILE, *again) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{out} holds {words}" in line
        assert line.endswith("and is kept; move it away, or give another name")
        assert (out.read_bytes(), os.listdir(tmp_path)) == (former, [name])
    assert run(scene, "-o", out, *TILE, "--force") == 0
    assert out.read_bytes() != former
    assert run(scene, "-o", out, *TILE) == 0, "what a run wrote is replaced"
    folder = ["-o", tmp_path, "--scenes", out.suffix[1:], *TILE]
    write(tmp_path / f"a{out.suffix}")
    assert run(scene, *folder) == 2


@pytest.mark.parametrize("layer", ["objects", "layer_styles"])
def test_a_result_that_a_person_added_to_is_kept(
    run: Segment, scene: str, tmp_path: Path, layer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.gpkg"
    assert run(scene, "-o", out, *TILE) == 0
    add_layer(out, layer)
    former = out.read_bytes()
    capsys.readouterr()
    assert run(scene, "-o", out, *TILE) == 2
    assert layer in capsys.readouterr().err
    assert out.read_bytes() == former


@pytest.mark.parametrize("name", ["out.qml", "out.tif.rows"])
def test_a_file_beside_the_result_that_no_run_wrote_is_kept(
    run: Segment, scene: str, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [scene, "-o", tmp_path / "out.tif", *TILE, "--style"]
    assert run(*words) == 0
    assert run(*words) == 0
    (tmp_path / name).write_text("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis version=\"3.22.4\"/>")
    assert run(*words) == 2
    assert f"{name} holds what this command did not write, and is kept" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--cog",)])
def test_what_described_the_former_result_goes_with_it_and_is_told(
    run: Segment, scene: str, tmp_path: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """GDAL and QGIS read facts, masks, smaller versions, values and styles beside a file with it."""
    words = [scene, "-o", tmp_path / "out.tif", *TILE, *options]
    assert run(*words, "--style") == 0
    with rasterio.open(tmp_path / "out.tif") as file:
        former = file.read(1), file.nodata
    style, other = tmp_path / "out.qml", tmp_path / "out.tif.bak"
    other.write_bytes(b"of a person")
    capsys.readouterr()
    assert run(*words) == 0
    assert style.exists(), "it has the names of the same classes"
    assert "removed" not in capsys.readouterr().err
    style.write_text(style.read_text().replace("label=", 'label="former" name='))
    (tmp_path / "OUT.tif.msk").write_bytes(Path(write_scene(tmp_path / "m.tif", np.zeros((200, 150), np.uint8))).read_bytes())
    (tmp_path / "out.tif.ovr").write_bytes(b"II*\0")
    facts = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>1</NoDataValue></PAMRasterBand></PAMDataset>'
    (tmp_path / "out.tif.aux.xml").write_text(facts)
    assert run(*words) == 0
    errors = capsys.readouterr().err
    for name in ("out.tif.aux.xml", "OUT.tif.msk", "out.tif.ovr", "out.qml"):
        assert f"{tmp_path / name} " in errors
        assert not (tmp_path / name).exists()
    assert other.exists()
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.read(1) == former[0]).all()
        assert file.nodata == former[1]


def test_a_style_of_a_person_and_one_of_another_kind_stay(
    run: Segment, scene: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    style = tmp_path / "out.qml"
    assert run(scene, "-o", tmp_path / "out.tif", *TILE, "--style") == 0
    style.write_text(style.read_text().replace('version="3.22"', 'version="3.40.1"'))
    for name in ("out.geojson", "out.tif"):
        capsys.readouterr()
        assert run(scene, "-o", tmp_path / name, *TILE) == 0
        assert (f"{style} stays" in capsys.readouterr().err) == (name == "out.tif")
    assert style.exists()


@pytest.mark.parametrize("mode", ["wal", "delete", "exclusive"])
def test_a_geopackage_that_another_program_has_open_is_refused(
    run: Segment, scene: str, tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a GIS edits it: in the journal of writes ahead, in a transaction, or with a lock alone."""
    out = tmp_path / "out.gpkg"
    assert run(scene, "-o", out, *TILE) == 0
    with closing(sqlite3.connect(out, isolation_level=None)) as database:
        if mode == "exclusive":
            database.execute("PRAGMA journal_mode=MEMORY")
        else:
            database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE mine (id INTEGER)")
        if mode == "wal":
            database.execute("COMMIT")
        for again in ([], ["--force"]):
            assert run(scene, "-o", out, *TILE, *again) == 2
            assert f"{out} is open in another program" in capsys.readouterr().err
        if mode != "wal":
            database.execute("COMMIT")
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert run(scene, "-o", out, *TILE, "--force") == 0
    assert other_tables(out, "objects") == ""


@pytest.mark.parametrize("name", ["out.qml", "out.gpkg.rows", ".out.part.gpkg"])
def test_a_link_at_a_name_of_ours_is_not_followed(run: Segment, scene: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / name).symlink_to("real")
    run(scene, "-o", tmp_path / "out.gpkg", *TILE, "--style")
    assert (tmp_path / "real").read_bytes() == b""


@pytest.mark.long
@pytest.mark.parametrize("words", [["out.tif"], ["out.tif", "--cog"], ["out.gpkg"], ["out.geojson"]])
def test_the_next_run_removes_what_a_run_left_that_was_killed_while_it_wrote(
    narrow_file: Path, run: Segment, tmp_path: Path, words: list[str]
) -> None:
    scene = write_scene(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 256, (2500, 1100, 3), np.uint8), tiled=True)
    out, folder = words[0], tmp_path / "maps"
    folder.mkdir()
    arguments = [scene, "-o", folder / out, *words[1:], "--tile", "512"]
    process = subprocess.Popen(command(narrow_file, *arguments), env=environment(), stderr=subprocess.DEVNULL)
    wait_until(lambda: process.poll() is not None or any(".part" in name for name in os.listdir(folder) if ".rows" not in name))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.listdir(folder)
    assert out not in os.listdir(folder)
    assert run(*arguments, "--resume") == 0
    assert os.listdir(folder) == [out]


def test_an_output_replaces_no_file_that_the_scene_is_read_from(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scene(Path("a.tif"), make_photo(96, 160))
    Path("a.vrt").write_text(
        vrt(source("a.tif"), before=f"<SRS>{UTM}</SRS><GeoTransform>{', '.join(map(str, north_up().to_gdal()))}</GeoTransform>")
    )
    area = np.array([shapely.to_wkb(shapely.box(448_010, 5_411_960, 448_050, 5_411_990))], object)
    pyogrio.raw.write("area.gpkg", area, [], [], layer="a", driver="GPKG", geometry_type="Polygon", crs=UTM)
    before = {path: path.read_bytes() for path in Path().iterdir()}
    for out, file, extent in (("a.tif", "a.tif", ()), ("area.gpkg", "area.gpkg", ("--extent", "area.gpkg|layername=a"))):
        assert run("a.vrt", "-o", "b.geojson", "-o", out, "--force", *TILE, *extent) == 2
        assert f"{out} would overwrite {tmp_path / file}, which is read; give another -o" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
