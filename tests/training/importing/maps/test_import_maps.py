"""Scenes and polygons of a GIS become a folder of tiles and masks that `fcn-check` and `fcn-train` take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image
from rasterio import Affine

from tests.support.images import make_photo
from tests.support.training.map_tiles import pictures, whole
from tests.support.training.maps import CORNER, PIXEL, ImportMaps, photo_scene, square, write_features, write_scene
from training.commands.check import main as check

TILE = 64


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Three rows and four columns of tiles, and a rest of 40 pixels on the right and of 8 below."""
    return photo_scene(tmp_path / "scene.tif", 3 * TILE + 8, 4 * TILE + 40)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A field over all tiles of the first two columns, and houses in it."""
    shapes = [square(0, 0, 2 * TILE, 3 * TILE), *(square(x, y, 10) for x in (20, 90) for y in (20, 84, 148))]
    return write_features(tmp_path / "labels.gpkg", shapes, ["field", *["house"] * 6])


def test_tiles_show_the_scene_and_what_was_drawn_on_it(
    import_maps: ImportMaps, scene: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = import_maps(scene, labels)
    mask = whole(tmp_path / "data")
    expected = np.full((3 * TILE + 8, 4 * TILE + 40), 254, np.uint8)
    expected[: 3 * TILE, : 2 * TILE] = 1
    for x in (20, 90):
        for y in (20, 84, 148):
            expected[y : y + 10, x : x + 10] = 2
    assert np.array_equal(mask, expected)
    image = pictures(tmp_path / "data" / "images")["scene_r001_c000"]
    assert np.array_equal(image, make_photo(3 * TILE + 8, 4 * TILE + 40)[TILE : 2 * TILE, :TILE])
    assert "bands 1, 2, 3" in out
    assert "3 classes" in out
    assert "background, field, house" in out
    assert "whose centre lies in a polygon" in out
    assert "9 tiles without labels, 5 at edges" in out
    assert "val; a block is 1x1 tiles, 32 x 32 metre" in out
    assert "tiles of val beside tiles of train may show halves of the same objects" in out
    assert check([str(tmp_path / "data")]) == 0
    assert "house" in capsys.readouterr().out


def test_outside_of_the_extent_and_of_the_data_is_void(import_maps: ImportMaps, labels: Path, tmp_path: Path) -> None:
    pixels = np.full((2 * TILE, 4 * TILE, 3), 90, np.uint8)
    pixels[:, 30:40] = 0
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=0)
    extent = write_features(tmp_path / "extent.gpkg", [square(0, 0, 3 * TILE, 100)], [1], field="id")
    out = import_maps(scene, labels, "--extent", extent)
    mask = whole(tmp_path / "data")
    assert (mask[:100, 30:40] == 255).all()
    assert (mask[100 : 2 * TILE, : 3 * TILE] == 255).all()
    assert (mask[:100, 2 * TILE : 3 * TILE] == 0).all()  # no polygon: background, since the extent says so
    assert (mask[:, 3 * TILE :] == 254).all()  # no tile
    assert "outside are void" in out
    assert "pixels of polygons lie outside of the extent" in out


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "shp"])
def test_labels_in_another_coordinate_system(import_maps: ImportMaps, scene: Path, tmp_path: Path, ending: str) -> None:
    from rasterio.warp import transform

    def to_degrees(x: Any, y: Any) -> Any:
        return tuple(map(np.asarray, transform("EPSG:32633", "EPSG:4326", x, y)))

    shapes = [shapely.transform(square(x + 0.01, 10.01, 20), to_degrees, interleaved=False) for x in (5, 70, 140)]
    labels = write_features(tmp_path / f"labels.{ending}", shapes, ["house"] * 3, "EPSG:4326")
    import_maps(scene, labels)
    mask = whole(tmp_path / "data")
    assert [(mask[10:30, x : x + 20] == 1).all() for x in (5, 70, 140)] == [True] * 3
    assert (mask == 1).sum() == 3 * 400


def test_a_turned_scene(import_maps: ImportMaps, tmp_path: Path) -> None:
    turn = Affine.translation(*CORNER) @ Affine.rotation(30) @ Affine.scale(PIXEL, -PIXEL)
    scene = photo_scene(tmp_path / "scene.tif", 2 * TILE, 2 * TILE, turn)
    corners = [(70, 10), (90, 10), (90, 40), (70, 40)]
    shape = shapely.Polygon([turn @ corner for corner in corners])
    labels = write_features(
        tmp_path / "labels.gpkg", [shape, shapely.Polygon([turn @ (x / 9, y) for x, y in corners])], ["a", "b"]
    )
    import_maps(scene, labels)
    mask = whole(tmp_path / "data")
    assert (mask[10:40, 70:90] == 1).all()
    assert (mask == 1).sum() == 20 * 30


def test_no_ground_is_in_train_and_in_val(import_maps: ImportMaps, tmp_path: Path) -> None:
    """Two scenes overlap by half of a tile, so their tiles lie across one another."""
    shift = Affine(PIXEL, 0, CORNER[0] + 1.5 * TILE * PIXEL, 0, -PIXEL, CORNER[1] - 0.5 * TILE * PIXEL)
    scenes = [photo_scene(tmp_path / "a.tif", 6 * TILE, 6 * TILE), photo_scene(tmp_path / "b.tif", 6 * TILE, 6 * TILE, shift)]
    labels = write_features(tmp_path / "labels.gpkg", [square(-50, -50, 12 * TILE), square(90, 90, 9)], ["field", "house"])
    out = import_maps(scenes, labels)
    features = json.loads((tmp_path / "data" / "tiles.geojson").read_text())["features"]
    ground = {split: shapely.union_all([shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features
                                        if feature["properties"]["split"] == split]) for split in ("train", "val")}  # fmt: skip
    common = shapely.intersection(ground["train"], ground["val"]).area
    assert common < 1e-3 * shapely.area(shapely.from_geojson(json.dumps(features[0]["geometry"])))
    assert len(pictures(tmp_path / "data" / "images")) == len(features)
    assert "tiles of train show ground of val and are left out" in out


def test_samples_of_sixteen_bits_get_the_scale_of_the_whole_scene(
    import_maps: ImportMaps, labels: Path, tmp_path: Path
) -> None:
    ramp = np.linspace(0, 4000, 3 * TILE * 3 * TILE).reshape(3 * TILE, 3 * TILE, 1).astype(np.uint16)
    scene = write_scene(tmp_path / "scene.tif", ramp)
    assert "0 to 4000" in import_maps(scene, labels, "--scale", "0,4000")
    image = pictures(tmp_path / "data" / "images")["scene_r001_c000"]
    assert image[0, 0].tolist() == [round(float(ramp[TILE, 0, 0]) * 255 / 4000)] * 3
    assert json.loads((tmp_path / "data" / "tiles.geojson").read_text())["scenes"][0]["bands"] == [1, 1, 1]
    assert "gives nearly all samples of band 1 few shades" in import_maps(scene, labels, "--scale", "0,9", "--force")


@pytest.mark.parametrize(
    ("encoding", "cpg", "words"),
    [
        ("UTF-8", None, ""),
        ("UTF-8", "UTF-8", ""),
        ("GBK", "GBK", "shapefiles are not in UTF-8, but gbk; if names are wrong, write another into labels.cpg"),
        ("GBK", "936", "shapefiles are not in UTF-8, but "),
        ("ISO-8859-1", "88591", "but iso8859-1;"),
        (
            "GBK",
            None,
            "!labels.shp has texts that are not in utf-8; write their encoding, such as CP1252 or GBK, into labels.cpg",
        ),
        ("ISO-8859-1", None, "!has texts that are not in utf-8"),
        ("GBK", "UTF-8", "!has texts that are not in utf-8"),
        ("GBK", "klingon", "!labels.cpg names an unknown encoding, 'klingon'"),
        ("GBK", "base64", "!labels.cpg names an unknown encoding"),
    ],
)
def test_the_encoding_of_a_shapefile(
    import_maps: ImportMaps, scene: Path, tmp_path: Path, encoding: str, cpg: str | None, words: str
) -> None:
    names = ["B\u00e4ume", "Wei\u00df"] if encoding == "ISO-8859-1" else ["\u623f\u5c4b", "\u6811"]
    shapes = [square(5, 5, 20), square(100, 5, 20)]
    labels = write_features(tmp_path / "labels.shp", shapes, names, kind="Polygon", encoding=encoding)
    labels.with_suffix(".cpg").unlink()
    if cpg:
        labels.with_suffix(".cpg").write_text(cpg)
    told = import_maps(scene, labels, status=2 if words.startswith("!") else 0)
    assert words.removeprefix("!") in told
    if not words.startswith("!"):
        assert f"3 classes: background, {', '.join(sorted(names))}" in told
        assert ("not in UTF-8" in told) == bool(words)


def test_numbers_are_classes_in_their_order_and_a_zipped_shapefile_is_told(
    import_maps: ImportMaps, scene: Path, tmp_path: Path
) -> None:
    values = [10.0, 2.5, 1.5, -1.0]
    labels = write_features(tmp_path / "labels.gpkg", [square(5 + 64 * at, 5, 20) for at in range(4)], values)
    assert "5 classes: background, -1, 1.5, 2.5, 10" in import_maps(scene, labels)
    (tmp_path / "shape.zip").write_bytes(b"PK\3\4")
    assert "shape.zip is an archive; unpack it" in import_maps(scene, tmp_path / "shape.zip", "--force", status=2)


def test_a_later_import_replaces_the_tiles_of_an_earlier_one(
    import_maps: ImportMaps, scene: Path, labels: Path, tmp_path: Path
) -> None:
    import_maps(scene, labels)
    assert "--force" in import_maps(scene, labels, status=2)
    other = write_features(tmp_path / "other.gpkg", [square(5 + x * TILE, 5, 20) for x in range(4)], ["house"] * 4)
    import_maps(scene, other, "--force")
    assert sorted(pictures(tmp_path / "data" / "masks")) == [f"scene_r000_c00{column}" for column in range(4)]
    Image.new("RGB", (9, 9)).save(tmp_path / "data" / "images" / "train" / "mine.png")
    assert "mine.png" in import_maps(scene, other, "--force", status=2)


def test_polygons_on_no_scene_are_told_and_all_tiles_may_be_of_one_split(
    import_maps: ImportMaps, scene: Path, tmp_path: Path
) -> None:
    shapes = [square(5, 5, 20), square(100, 5, 20), square(5000, 5000, 9), square(4 * TILE + 41, 5, 9)]
    out = import_maps(scene, write_features(tmp_path / "labels.gpkg", shapes, ["a"] * 4), "--split", "test")
    assert (
        "2 polygons lie on no scene, feature 3, feature 4, but elsewhere; check its coordinate system: "
        f"{tmp_path / 'labels.gpkg'}, layer labels, in EPSG:32633: its polygons at x 500148.5 to 502504.5, "
        f"y 5797495.5 to 5799997.5, {scene} at x 500000 to 500148, y 5799900 to 5800000\n"
    ) in out
    assert "may show halves" not in out
    assert [path.name for path in (tmp_path / "data" / "images").iterdir()] == ["test"]


def test_a_scene_that_an_extent_makes_background_is_told(
    import_maps: ImportMaps, scene: Path, labels: Path, tmp_path: Path
) -> None:
    """As where the labels of one of two scenes are in a wrong zone."""
    shift = Affine(PIXEL, 0, CORNER[0], 0, -PIXEL, CORNER[1] - 900)
    other = photo_scene(tmp_path / "other.tif", 2 * TILE, 2 * TILE, shift)
    extent = write_features(tmp_path / "extent.gpkg", [square(0, 0, 128), square(0, 1800, 64)], [1, 1], field="id")
    out = import_maps([scene, other], labels, "--extent", extent)
    assert f"1 scenes have no polygon inside of the extent, so their tiles are background alone: {other}" in out
    assert "no polygon" not in import_maps([scene], labels, "--extent", extent, "--force")


@pytest.mark.parametrize("unknown", ["error", "void"])
def test_polygons_without_a_class_and_invalid_ones(import_maps: ImportMaps, scene: Path, tmp_path: Path, unknown: str) -> None:
    corner_x, corner_y = CORNER
    bow = shapely.Polygon([(corner_x + x, corner_y - y) for x, y in ((2, 2), (12, 12), (12, 2), (2, 12))])
    shapes = [square(5, 100, 20), square(100, 5, 20), square(100, 100, 20), bow]
    labels = write_features(tmp_path / "labels.gpkg", shapes, ["a", None, "b", "b"])
    text = import_maps(scene, labels, "--unknown", unknown, status=2 if unknown == "error" else 0)
    assert "polygons without a value of 'class'" in text
    assert "feature 2" in text
    assert "Fix geometries" in text
    assert "feature 4: Self-intersection" in text
    if unknown == "void":
        mask = whole(tmp_path / "data")
        assert (mask[5:25, 100:120] == 255).all()
        assert mask[8, 6] == 255
        assert mask[6, 14] == 0
    else:
        assert not (tmp_path / "data").exists()


def test_a_fourth_band_that_the_file_calls_alpha_is_told_and_taken_if_it_is_named(
    import_maps: ImportMaps, labels: Path, tmp_path: Path
) -> None:
    photo = make_photo(3 * TILE, 2 * TILE)
    infrared = np.where(np.arange(3 * TILE)[:, None] < TILE, 0, np.maximum(photo[:, :, 0], 1)).astype(np.uint8)
    scene = write_scene(tmp_path / "scene.tif", np.dstack([photo, infrared]))
    assert "band 4, which the file calls alpha" in import_maps(scene, labels)
    assert 255 not in whole(tmp_path / "data")
    assert "calls alpha" not in import_maps(scene, labels, "--bands", "1,2,3,4", "--force")
    assert json.loads((tmp_path / "data" / "bands.json").read_text())["bands"] == ["red", "green", "blue", "band 4"]
    assert 255 not in whole(tmp_path / "data")
