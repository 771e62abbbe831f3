"""`--extent`: inside of it the result of the whole scene, outside void; only tiles that touch it run."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from pyogrio.raw import write
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.warp import transform_bounds, transform_geom

from cli.local import Network
from cluster.scenes import join, plan_parts, segment_part
from imaging.classes import VOID
from imaging.georeferenced.area import read_area
from imaging.georeferenced.errors import SceneParameter
from imaging.georeferenced.place import Place, Window, moved
from imaging.georeferenced.scene import open_scene
from model.inference.merging import Logits
from model.inference.runtime import Tile
from model.inference.scenes.request import SceneRequest
from model.inference.scenes.rows_file import RowsFile
from model.inference.scenes.work import plan_work, segment_work
from model.inference.segmenter import Segmenter
from tests.support.cli.folders import Segment
from tests.support.images import make_photo
from tests.support.imaging.scenes import CORNER, UTM, north_up, write_scene

SIZE = (900, 700)
BOX = (448_060.0, 5_411_700.0, 448_130.0, 5_411_790.0)  # rows 420 to 600, columns 120 to 260
TEXT = f"{','.join(map(str, BOX))},{UTM}"
HOLED = shapely.box(*BOX) - shapely.box(448_080, 5_411_720, 448_100, 5_411_740)
MANY = shapely.union_all([HOLED, shapely.box(448_300, 5_411_990, 448_400, 5_412_100), shapely.box(447_900, 5_411_800, *CORNER)])
"""The last one touches the scene's left edge from outside."""
TILE = ("--tile", "64")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    mask = np.ones(SIZE, bool)
    mask[500:520] = False
    return write_scene(tmp_path_factory.mktemp("scene") / "a.tif", make_photo(*SIZE), mask=mask, tiled=True)


def geojson(path: Path, shape: Any, system: str = UTM) -> str:
    geometry = transform_geom(UTM, system, shapely.geometry.mapping(shape))
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": {}} | {
        "crs": {"type": "name", "properties": {"name": system}}
    }))  # fmt: skip
    return str(path)


def read(path: Path, shape: Any = None) -> Any:
    """The pixels of a raster, or which of them have their centre in a shape, as rasterio says."""
    with rasterio.open(path) as file:
        return file.read(1) if shape is None else geometry_mask([shape], file.shape, file.transform, invert=True)


@pytest.mark.parametrize("shape", [shapely.box(*BOX), MANY], ids=["box", "many"])
@pytest.mark.parametrize("more", [(), ("--gsd", "0.8"), ("--format", "confidence", "--overlap", "0", "--blend", "hann")])
def test_inside_is_the_result_of_the_whole_and_outside_void(
    run: Segment, scene: str, tmp_path: Path, shape: Any, more: tuple[str, ...]
) -> None:
    extent = geojson(tmp_path / "area.geojson", shape)
    assert run(scene, "-o", tmp_path / "whole.tif", *TILE, *more) == 0
    assert run(scene, "-o", tmp_path / "part.tif", *TILE, *more, "--extent", extent) == 0
    classes, void = read(tmp_path / "whole.tif", shape), 0 if "--format" in more else VOID
    assert classes.any()
    assert (read(tmp_path / "part.tif") == np.where(classes, read(tmp_path / "whole.tif"), void)).all()


@pytest.mark.parametrize("gsd", [None, 0.8])
def test_only_tiles_that_touch_it_run_and_progress_counts_those(scene: str, segmenter: Segmenter, gsd: float | None) -> None:
    tiles = list[Tile]()

    def submit(tile: Tile) -> Future[Logits]:
        tiles.append(tile)
        future = Future[Logits]()
        future.set_result(segmenter.runtime.logits([tile])[0])
        return future

    with open_scene(scene) as file:
        work = plan_work(SceneRequest(scene, "a.tif", extent=TEXT, gsd=gsd, tile=(64, 64)), file, segmenter.runtime)
        rows = list(segment_work(work, file, segmenter.runtime, submit, 4))
    scale, stride = work.tiles.size[0] / SIZE[0], segmenter.runtime.stride
    spans = ((work.tiles.tops, 420 * scale, 600 * scale), (work.tiles.lefts, 120 * scale, 260 * scale))
    least, most = (  # tiles that hold pixels of the box, and those whose cells may be beside such
        np.prod(
            [sum(first - reach < last and first + 64 + reach > begin for first in origins) for origins, begin, last in spans]
        )
        for reach in (0, stride)
    )
    assert least <= work.tile_count == len(tiles) <= most < len(work.tiles) / 4
    progress = [work.tiles_above(part.bottom) for part in rows]
    assert (progress[0], progress[-1]) == (0, work.tile_count)


def test_an_area_in_each_form_and_system_is_the_same(run: Segment, scene: str, tmp_path: Path) -> None:
    path, results = tmp_path / "area.gpkg", []
    for layer, shape in (("fields", shapely.box(*BOX)), ("other", HOLED)):
        wkb = np.array([shapely.to_wkb(shape)])
        write(path, wkb, [], [], geometry_type="Polygon", crs=UTM, layer=layer, driver="GPKG", append=path.exists())
    edges = ", ".join(f"{edge:.9f}" for edge in transform_bounds(UTM, "EPSG:32633", *BOX, densify_pts=0))
    degrees = geojson(tmp_path / "a.geojson", shapely.box(*BOX), "EPSG:4326")
    for extent in (TEXT, f"{path}|layername=fields", degrees, f" {edges} , EPSG:32633"):
        assert run(scene, "-o", tmp_path / "out.tif", *TILE, "--extent", extent) == 0
        results.append(read(tmp_path / "out.tif") != VOID)
    assert all((result == results[0]).all() for result in results[1:3])
    assert (results[3] >= results[0]).all()  # a box of another zone is turned


@pytest.mark.parametrize(
    ("crs", "west_north", "step", "shape", "system"),
    [
        ("EPSG:4326", (-180, 90), 1, shapely.box(3e6, 2e6, 5e6, 4e6), "EPSG:3035"),  # Europe on a map of the world
        ("EPSG:4326", (-180, 90), 1, shapely.box(-2e6, -2e6, 3e6, 3e6), "EPSG:3031"),  # a pole
        ("EPSG:4326", (-180, 90), 1, shapely.box(4e5, 1e6, 1e6, 3e6), "EPSG:32660"),  # across 180 degrees
        ("EPSG:4326", (0, 90), 1, shapely.box(-20, 10, 20, 30), "EPSG:4326"),
        ("EPSG:4326", (-7, 90), 1, shapely.box(4e5, 1e6, 1e6, 3e6), "EPSG:32660"),
        ("EPSG:32660", (6e5, 2e6), 2000, shapely.box(-180, -90, 180, 90), "EPSG:4326"),
    ],
)
def test_an_area_of_another_system_has_the_pixels_whose_centres_are_in_it_there(
    tmp_path: Path, crs: str, west_north: tuple[float, float], step: float, shape: shapely.Polygon, system: str
) -> None:
    place = Place((180, 360), north_up(step, west_north), CRS.from_string(crs))
    extent = tmp_path / "area.geojson"
    extent.write_text(json.dumps(shapely.geometry.mapping(shape) | {"crs": {"type": "name", "properties": {"name": system}}}))
    rows, columns = np.indices(place.size)
    centres = place.to_map(np.column_stack([columns.ravel(), rows.ravel()]) + 0.5)
    x, y = moved(centres, CRS.from_string(crs), CRS.from_string(system))[0].T
    turns = (-360, 0, 360) if system == "EPSG:4326" else (0,)
    expected = np.any([shapely.contains_xy(shape, x + turn, y) for turn in turns], axis=0).reshape(place.size)
    mask = read_area(str(extent), place, "a.tif").mask(Window(0, 0, *place.size))
    assert (mask & expected).sum() > 50
    assert (mask == expected).all()


@pytest.mark.parametrize("extent", ["-9,2,-8,4,EPSG:4326", f"0,0,1,1,{UTM}"])
def test_an_area_that_misses_a_scene_in_degrees_is_told_with_both_places(extent: str) -> None:
    place = Place((90, 90), north_up(0.01, (8, 49)), CRS.from_epsg(4326))
    with pytest.raises(SceneParameter, match=r"the extent misses a.tif: in EPSG:\d+ the extent is x .*, and a.tif is x"):
        read_area(extent, place, "a.tif")


def test_an_area_across_the_end_of_a_map_is_refused_and_one_beside_it_is_not() -> None:
    place = Place((200, 400), north_up(1e5, (-2e7, 1e7)), CRS.from_epsg(3857))
    assert read_area("100,-40,180,60,EPSG:4326", place, "a.tif").mask(Window(0, 0, *place.size))[100, 320]
    with pytest.raises(
        SceneParameter, match=r"an edge of a polygon, at x .*, lies across the end of the map in EPSG:3857; cut"
    ):
        read_area("100,-40,200,60,EPSG:4326", place, "a.tif")


def test_an_area_survives_an_end_and_parts_of_a_cluster_with_equal_bytes(
    run: Segment, scene: str, narrow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    area, append, calls = geojson(tmp_path / "area.geojson", MANY), RowsFile.append, list[int]()
    words = (*TILE, "--format", "confidence", "--extent")

    def failing(file: RowsFile, *rows: Any) -> None:
        calls.append(1)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        append(file, *rows)

    assert run(scene, "-o", tmp_path / "whole.tif", *words, area) == 0
    with monkeypatch.context() as patch:
        patch.setattr(RowsFile, "append", failing)
        assert run(scene, "-o", tmp_path / "out.tif", *words, area) == 2
    assert run(scene, "-o", tmp_path / "out.tif", *words, TEXT, "--resume") == 2  # rows of another area
    assert run(scene, "-o", tmp_path / "out.tif", *words, area, "--resume") == 0
    request = SceneRequest(scene, str(tmp_path / "parts.tif"), tile=(64, 64), extent=area, format="confidence")
    parts = plan_parts(request, Network(str(narrow_file), "openvino", "cpu", "float32", 1, "auto"), 1)
    assert sum(segment_part(request, parts, index) for index in range(len(parts.spans))) == SIZE[0]
    join(request, parts)
    assert {(tmp_path / name).read_bytes() for name in ("out.tif", "parts.tif")} == {(tmp_path / "whole.tif").read_bytes()}


@pytest.mark.parametrize(
    ("extent", "message"),
    [
        (
            f"0,0,1,1,{UTM}",
            f"the extent misses a.tif: in {UTM} the extent is x 0 to 1, y 0 to 1, and a.tif is x {CORNER[0]:.9g}",
        ),
        ("-9,2,-8,4,EPSG:4326", "misses a.tif: in EPSG:4326 the extent is x -9 to -8, y 2 to 4, and a.tif is x 8.29"),
        (
            f"448000.3,5411990,448000.4,5411999,{UTM}",
            f"holds no pixel's centre of a.tif: in {UTM} the extent is x 448000.3 to 448000.4, y 5411990 to 5411999, and a "
            f"pixel measures 0.5 x 0.5 in {UTM}; give",
        ),
        (f"9,2,3,4,{UTM.lower()}", "LEFT must be below RIGHT"),
        (f"1,2,3e5,4,{UTM}", "the extent: must be a file or LEFT,BOTTOM,RIGHT,TOP,SYSTEM, such as 8.1,"),
        ('{"type":"Polygon","coordinates":[' + 99 * "[1,2]," + "]}", "the extent: must be a file or LEFT,BOTTOM,RIGHT"),
        ("1,2,3,4,EPSG:99999999", "EPSG:99999999 is no coordinate system that is known"),
        ("line.geojson", "line.geojson: feature 0 is no valid polygon (a LineString: Valid Geometry)"),
        ("bow.geojson", "bow.geojson: feature 0 is no valid polygon (a Polygon: Self-intersection"),
        ("none.geojson", "none.geojson has no polygons"),
        (
            "foreign.geojson",
            "the name of a known system, got {'type': 'name', 'properties': {'name': 'EPSG:99999999'}}; export",
        ),
        ("unread.geojson", "unread.geojson: feature 1 is no valid polygon (it is missing or damaged)"),
    ],
)
def test_what_is_no_area_is_said_in_a_line(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], extent: str,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    geojson(Path("line.geojson"), shapely.LineString([BOX[:2], BOX[2:]]))
    geojson(Path("bow.geojson"), shapely.Polygon([BOX[:2], BOX[2:], (BOX[0], BOX[3]), (BOX[2], BOX[1])]))
    Path("foreign.geojson").write_text(Path("bow.geojson").read_text().replace(UTM, "EPSG:99999999"))
    Path("none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    features = [{"type": "Feature", "properties": {}, "geometry": shape} for shape in (shapely.geometry.mapping(HOLED), None)]
    Path("unread.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    write_scene(Path("a.tif"), make_photo(40, 40))
    assert run("a.tif", "-o", "out.tif", *TILE, "--extent", extent) == 2
    assert message in capsys.readouterr().err
