"""What is wrong with scenes, polygons and arguments is an error with its name and place, and nothing is written."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image
from rasterio import Affine

from tests.support.training.maps import CORNER, UTM, photo_scene, square, write_features, write_scene
from training.commands.import_labels import main


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return photo_scene(tmp_path / "scene.tif", 128, 192)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_features(tmp_path / "labels.gpkg", [square(5, 5, 20), square(100, 5, 20)], ["house", "tree"])


def error(capsys: pytest.CaptureFixture[str], out: Path, *arguments: object) -> str:
    """The only line of an import that fails."""
    with suppress(SystemExit):  # of a value that is none
        assert main([*map(str, arguments), "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert not out.exists()
    assert printed.out == ""
    line = printed.err.rpartition("\r")[2]  # after the bar of progress
    assert line.count("\n") == 1, line
    return str(line)


def of_maps(scene: Path, labels: Path, *more: object) -> list[object]:
    return ["--raster", scene, "--vector", labels, "--field", "class", "--tile", "64", *more]


POINT, LINE = shapely.Point(*CORNER), shapely.LineString([CORNER, (CORNER[0] + 9, CORNER[1] - 9)])


@pytest.mark.parametrize(
    ("shapes", "classes", "crs", "words"),
    [
        (
            [square(5, 5, 9), POINT],
            "ab",
            UTM,
            "has 1 features that are no polygons, feature 2 (Point); points and lines",
        ),
        ([square(5, 5, 9), LINE], "ab", UTM, "feature 2 (LineString)"),
        ([None, shapely.Polygon()], "ab", UTM, "has no polygons: its 2 features have no outline"),
        ([shapely.box(11, 48, 12, 49)], "a", "EPSG:4326", "no pixel of the scenes has a label: "),
        ([square(5, 5, 9)], "a", UTM, "1 tiles with labels lie in one block of ground"),
    ],
)
def test_polygons_that_say_nothing(
    scene: Path, tmp_path: Path, capsys: Any, shapes: list[Any], classes: str, crs: str, words: str
) -> None:
    labels = write_features(tmp_path / "labels.gpkg", shapes, [*classes], crs)
    assert words in error(capsys, tmp_path / "out", *of_maps(scene, labels))


def test_a_layer_or_a_scene_without_a_coordinate_system(scene: Path, labels: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.warns(UserWarning, match="crs"):
        nowhere = write_features(tmp_path / "nowhere.shp", [square(5, 5, 9)], ["a"], None, kind="Polygon")
    assert "layer nowhere, has no coordinate system" in error(capsys, tmp_path / "out", *of_maps(scene, nowhere))
    plain = write_scene(tmp_path / "plain.tif", np.zeros((64, 64, 3), np.uint8), None, Affine(2, 0, 0, 0, -2, 0))
    assert f"{plain} has no coordinate system" in error(capsys, tmp_path / "out", *of_maps(plain, labels))


def test_several_layers(scene: Path, labels: Path, tmp_path: Path, capsys: Any) -> None:
    write_features(labels, [square(5, 5, 9)], ["a"], layer="second", append=True)
    assert "has 2 layers (labels, second); name one" in error(capsys, tmp_path / "out", *of_maps(scene, labels))
    more = of_maps(scene, labels, "--layer", "third")
    assert "has no layer 'third'; its layers are labels, second" in error(capsys, tmp_path / "out", *more)
    assert main([*map(str, of_maps(scene, labels, "--layer", "labels")), "--out", str(tmp_path / "out")]) == 0


def test_features_without_an_outline_are_left_out(scene: Path, tmp_path: Path, capsys: Any) -> None:
    labels = write_features(tmp_path / "more.gpkg", [square(5, 5, 9), square(90, 5, 9), None], ["a", "b", "a"])
    assert main([*map(str, of_maps(scene, labels)), "--out", str(tmp_path / "out")]) == 0
    assert "1 features have no outline" in capsys.readouterr().out


def test_files_of_another_kind(scene: Path, labels: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "text.txt").write_text("no map")
    assert "text.txt is not read as a scene" in error(capsys, tmp_path / "out", *of_maps(tmp_path / "text.txt", labels))
    assert "text.txt is no vector file" in error(capsys, tmp_path / "out", *of_maps(scene, tmp_path / "text.txt"))
    assert "none.gpkg is not there" in error(capsys, tmp_path / "out", *of_maps(scene, tmp_path / "none.gpkg"))


def test_scenes_of_one_name(scene: Path, labels: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "other").mkdir()
    other = photo_scene(tmp_path / "other" / "scene.tif", 128, 192)
    arguments = ["--raster", scene, other, "--vector", labels, "--field", "class"]
    assert "scenes of one name, scene," in error(capsys, tmp_path / "out", *arguments)


def test_classes_that_a_file_of_classes_lacks(scene: Path, labels: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "classes.yaml").write_text("classes: [background, tree]\n")
    assert main([*map(str, of_maps(scene, labels)), "--out", str(out)]) == 2
    text = capsys.readouterr().err
    assert "labels.gpkg, layer labels has the categories house, which" in text
    assert "lacks" in text
    assert [path.name for path in out.iterdir()] == ["classes.yaml"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["export.json"], "export.json is one thing too many"),
        (["--crowds", "void"], "--crowds goes with an EXPORT"),
        (["--field", "clas"], "has no field 'clas' (did you mean 'class'?); its fields are class"),
        (["--tile", "9"], "--tile must be 64 to 4096 pixels, got 9"),
        (["--block", "0"], "--block must be 1 tile or more, got 0"),
        (["--gsd", "0"], "--gsd must be metres of a pixel, above 0 and up to 1000000, got 0"),
        (["--gsd", "0.1"], "scene.tif more than 4 times: its own measure 0.5 x 0.5 m; give a --gsd of at least 0.125"),
        (["--gsd", "5"], "scene.tif to 19x13 pixels, and a tile needs 32: give less"),
        (["--bands", "1,2,9"], "has no band 9"),
        (["--bands", "1,2"], "2 are chosen"),
        (["--bands", "red"], "such as 4,3,2, got 'red'"),
        (["--scale", "9,1"], "such as 0,3000, got '9,1'"),
        (["--extent-layer", "a"], "--extent-layer names a layer of --extent, which is missing"),
        (["--split", "a/b"], "--split must be a name without folders"),
    ],
)
def test_arguments(scene: Path, labels: Path, tmp_path: Path, capsys: Any, more: list[str], words: str) -> None:
    first = more if not more[0].startswith("--") else []
    rest = [] if first else more
    assert words in error(capsys, tmp_path / "out", *first, *of_maps(scene, labels), *rest)


def test_arguments_that_are_missing(scene: Path, labels: Path, tmp_path: Path, capsys: Any) -> None:
    assert "--raster needs --vector and --field" in error(capsys, tmp_path / "out", "--raster", scene)
    assert "--vector goes with --raster" in error(capsys, tmp_path / "out", "--vector", labels)
    assert "give the EXPORT of a labelling tool, or scenes" in error(capsys, tmp_path / "out")


def test_labels_elsewhere_are_told_with_the_places_of_both(scene: Path, labels: Path, tmp_path: Path, capsys: Any) -> None:
    """In the labels' own system; an extent elsewhere is told as well."""
    far = write_features(tmp_path / "far.gpkg", [shapely.box(11, 48, 12, 49)], ["a"], "EPSG:4326")
    text = error(capsys, tmp_path / "out", *of_maps(scene, far))
    assert "far, in EPSG:4326: its polygons at x 11 to 12, y 48 to 49, " in text
    assert f"{scene} at x 15 to 15.0014" in text
    assert ", y 52.3497" in text
    elsewhere = write_features(tmp_path / "elsewhere.gpkg", [square(9000, 9000, 9)], [1], field="id")
    text = error(capsys, tmp_path / "out", *of_maps(scene, labels, "--extent", elsewhere))
    assert "labels, in EPSG:32633: its polygons at x 500002.5 to 500060, y 5799987.5 to 5799997.5" in text
    assert "elsewhere, in EPSG:32633: its polygons at x 504500 to" in text


@pytest.mark.parametrize("left", [200_000, 70])
def test_an_extent_does_not_make_background_of_ground_whose_labels_lie_elsewhere(
    scene: Path, tmp_path: Path, capsys: Any, left: int
) -> None:
    """On no scene, or on the scene and not in the extent."""
    far = write_features(tmp_path / "far.gpkg", [square(left, 5, 20)], ["a"])
    extent = write_features(tmp_path / "extent.gpkg", [square(0, 0, 60)], [1], field="id")
    text = error(capsys, tmp_path / "out", *of_maps(scene, far, "--extent", extent, "--split", "train"))
    assert (
        f"no pixel of the scenes has a label: {far}, layer far, in EPSG:32633: its polygons at x {500_000 + left // 2} to"
        in text
    )
    assert f"{scene} at x 500000 to 500096, y 5799936 to 5800000; " in text


DISK = "+proj=geos +h=35785831 +lon_0=0"  # of a weather satellite, with space around it
SITE = 'LOCAL_CS["site grid",UNIT["metre",1]]'


@pytest.mark.parametrize(("crs", "other"), [(UTM, SITE), (DISK, "EPSG:4326"), (UTM, "EPSG:4978")])
def test_systems_that_do_not_become_each_other(tmp_path: Path, capfd: Any, crs: str, other: str) -> None:
    corner, pixel = ((-5.5e6, 5.5e6), 55_000) if crs == DISK else (CORNER, 0.5)
    transform = Affine(pixel, 0, corner[0], 0, -pixel, corner[1])
    scene = write_scene(tmp_path / "scene.tif", np.zeros((200, 200, 3), np.uint8), crs, transform)
    labels = write_features(tmp_path / "labels.gpkg", [square(5, 5, 9)], ["a"], other)
    text = error(capfd, tmp_path / "out", *of_maps(scene, labels))
    assert "labels.gpkg, layer labels: coordinates in " in text
    assert " cannot become those in " in text


def test_a_scene_without_relation_to_the_earth_leaves_nothing(tmp_path: Path, capsys: Any) -> None:
    scene = photo_scene(tmp_path / "scene.tif", 128, 192, crs=SITE)
    labels = write_features(tmp_path / "labels.gpkg", [square(5, 5, 20), square(100, 5, 20)], ["a", "b"], SITE)
    assert f"{scene}: the list of tiles has longitude and latitude, and " in error(
        capsys, tmp_path / "out", *of_maps(scene, labels)
    )


def collection(*members: shapely.Geometry) -> shapely.GeometryCollection:
    return shapely.GeometryCollection(members)


def test_a_collection_has_its_polygons_and_the_rest_is_counted(scene: Path, tmp_path: Path, capsys: Any) -> None:
    """As repairing a polygon gives it: polygons that share an edge, a line and a point, one in another."""
    halves = [square(5, 5, 10, 20), shapely.MultiPolygon([square(15, 5, 10, 20)])]
    whole = collection(*halves, LINE, collection(POINT, LINE))
    for ending in ("gpkg", "geojson"):
        labels = write_features(tmp_path / f"labels.{ending}", [whole, square(100, 5, 20)], ["house", "tree"])
        out = tmp_path / ending
        assert main([*map(str, of_maps(scene, labels)), "--out", str(out)]) == 0
        printed = capsys.readouterr().out
        assert "2 members of collections that are LineStrings are left out, since they have no area" in printed
        assert "1 members of collections that are Points are left out" in printed
        (mask,) = (np.asarray(Image.open(path)) for path in (out / "masks").glob("*/scene_r000_c000.png"))
        expected = np.zeros((64, 64), np.uint8)
        expected[5:25, 5:25] = 1
        np.testing.assert_array_equal(mask, expected)
        apart = write_features(tmp_path / f"apart.{ending}", [*halves, square(100, 5, 20)], ["house", "house", "tree"])
        assert main([*map(str, of_maps(scene, apart)), "--out", str(tmp_path / f"apart-{ending}")]) == 0
        (same,) = (np.asarray(Image.open(path)) for path in tmp_path.glob(f"apart-{ending}/masks/*/scene_r000_c000.png"))
        np.testing.assert_array_equal(mask, same)


def test_a_collection_without_a_polygon_or_with_an_invalid_one_is_told(scene: Path, tmp_path: Path, capsys: Any) -> None:
    labels = write_features(tmp_path / "a.gpkg", [square(5, 5, 9), collection(POINT, LINE)], ["a", "b"])
    assert "no polygons, feature 2 (GeometryCollection)" in error(capsys, tmp_path / "out", *of_maps(scene, labels))
    x, y = CORNER
    bow = shapely.Polygon([(x, y), (x + 9, y - 9), (x + 9, y), (x, y - 9)])
    labels = write_features(tmp_path / "b.gpkg", [square(5, 5, 9), collection(bow, POINT)], ["a", "b"])
    assert "feature 2: Self-intersection" in error(capsys, tmp_path / "out", *of_maps(scene, labels))
