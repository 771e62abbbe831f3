"""Scenes are read by windows with what they say of data and place; what cannot be read is refused in words."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from imaging.decoding import Limits
from imaging.errors import DamagedImage
from imaging.georeferenced.errors import DamagedScene, NoCoordinates, SceneError
from imaging.georeferenced.place import Window
from imaging.georeferenced.scene import SAFE_DRIVERS, open_scene
from imaging.georeferenced.whole import OpenScene
from tests.support.images import make_photo
from tests.support.imaging.scenes import UTM, change_table, north_up, source, vrt, write_scene

PHOTO = make_photo(96, 160)
WHOLE = Window(0, 0, 96, 160)


def test_a_window_has_the_samples_of_its_pixels_and_the_place_is_that_of_the_file(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO, tiled=True, blockxsize=32, blockysize=32)
    with open_scene(path) as scene:
        samples, mask = scene.read(Window(10, 20, 30, 40), [3, 1])
        assert (samples == np.moveaxis(PHOTO[10:40, 20:60][:, :, [2, 0]], 2, 0)).all()
        assert mask.all()
        assert (scene.size, scene.bands, scene.block) == ((96, 160), [1, 2, 3], (32, 32))
        assert scene.place.crs is not None
        assert scene.place.crs.to_string() == UTM
        assert scene.place.part(Window(10, 20, 5, 5)).to_map([[0, 0]]).tolist() == scene.place.to_map([[20, 10]]).tolist()


def test_pieces_cover_a_window_once_and_cut_at_blocks(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO, tiled=True, blockxsize=32, blockysize=32)
    with open_scene(path) as scene:
        count = np.zeros(scene.size, int)
        for piece in scene.pieces(Window(5, 7, 80, 150)):
            count[piece.top : piece.top + piece.height, piece.left : piece.left + piece.width] += 1
            assert piece.top // 32 == (piece.top + piece.height - 1) // 32
    assert (count[5:85, 7:157] == 1).all()
    assert count.sum() == 80 * 150


@pytest.mark.parametrize("how", ["nodata", "alpha", "alpha of five", "mask", "nan"])
def test_pixels_without_data_are_known(tmp_path: Path, how: str) -> None:
    hole, pixels = np.zeros((96, 160), bool), np.maximum(PHOTO, 1)
    hole[20:50, 30:90] = True
    if how == "nodata":
        path = write_scene(tmp_path / "a.tif", np.where(hole[:, :, None], 0, pixels), nodata=0)
    elif how == "alpha":
        samples = np.dstack([pixels, np.where(hole, 0, 255).astype(np.uint8)])
        colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        path = write_scene(tmp_path / "a.tif", samples, colors=colors)
    elif how == "alpha of five":
        samples = np.dstack([pixels, pixels[:, :, 0], np.where(hole, 0, 255).astype(np.uint8)])
        undefined, alpha = ColorInterp.undefined, ColorInterp.alpha
        path = write_scene(tmp_path / "a.tif", samples, colors=[undefined] * 4 + [alpha])
    elif how == "mask":
        path = write_scene(tmp_path / "a.tif", pixels, mask=~hole)
    else:
        path = write_scene(tmp_path / "a.tif", np.where(hole[:, :, None], np.nan, pixels.astype(np.float32)))
    with open_scene(path) as scene:
        assert scene.bands == ([1, 2, 3, 4] if how == "alpha of five" else [1, 2, 3])
        assert (scene.read(WHOLE, scene.bands)[1] == ~hole).all()
        assert (scene.read_reduced((96, 160), scene.bands)[1] == ~hole).all()
        assert scene.has_data(Window(20, 30, 30, 60)) == (how == "nan")


def test_a_pixel_without_data_has_nodata_in_all_bands(tmp_path: Path) -> None:
    pixels = np.dstack([np.maximum(PHOTO, 1), PHOTO[:, :, 0]])
    pixels[:20, :, 3] = 0
    pixels[:10] = 0
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
    with open_scene(write_scene(tmp_path / "a.tif", pixels, colors=colors, nodata=0)) as scene:
        assert (scene.read(WHOLE, [1, 2, 3])[1] == pixels.any(2)).all()


def test_bands_of_different_types_have_one_that_holds_all(tmp_path: Path) -> None:
    types = {"Byte": np.uint8, "UInt16": np.uint16, "Float32": np.float32}
    for number, (name, dtype) in enumerate(types.items()):
        write_scene(tmp_path / f"{name}.tif", PHOTO[:, :, number].astype(dtype))
    (tmp_path / "a.vrt").write_text(vrt(*(source(f"{name}.tif") for name in types), types=[*types]))
    with open_scene(str(tmp_path / "a.vrt")) as scene:
        samples, _ = scene.read(WHOLE, [3, 1, 2])
        assert samples.dtype == scene.dtype == np.float32
        assert (samples == np.moveaxis(PHOTO[:, :, [2, 0, 1]], 2, 0)).all()
        assert scene.read_reduced((48, 80), [1, 2])[0].shape == (2, 48, 80)


def test_a_nodata_that_the_samples_cannot_have_hides_nothing(tmp_path: Path) -> None:
    write_scene(tmp_path / "wide.tif", PHOTO)
    (tmp_path / "a.vrt").write_text(vrt(f"<NoDataValue>-9999</NoDataValue>{source('wide.tif')}"))
    with open_scene(str(tmp_path / "a.vrt")) as scene:
        assert scene.read(WHOLE, [1])[1].all()


def test_a_damaged_block_is_named_with_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    write_scene(path, noise, tiled=True, blockxsize=32, blockysize=32, compress="deflate", interleave="pixel")
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_2_1", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset : offset + 64] = bytes(64)
    path.write_bytes(data)
    with open_scene(str(path)) as scene:
        scene.read(Window(0, 0, 32, 160), [1])
        with pytest.raises(DamagedScene, match=r"pixels 64, 32 to 128, 64 \(column, row\) cannot be read: .+"):
            scene.read(Window(32, 64, 32, 64), [1, 2, 3])


TILED = {"tiled": True, "blockxsize": 32, "blockysize": 32}


@pytest.mark.parametrize("options", [
    TILED, TILED | {"compress": "deflate", "BIGTIFF": "YES"}, {"blockysize": 16}, {"blockysize": 16, "interleave": "band"},
    {"blockysize": 16, "ENDIANNESS": "BIG"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("table", [0, 1], ids=["offsets", "bytes"])
def test_a_table_without_all_tiles_or_strips_is_damage(tmp_path: Path, options: dict[str, object], table: int) -> None:
    path, tag = tmp_path / "a.tif", (324, 325)[table] if "tiled" in options else (273, 279)[table]
    write_scene(path, PHOTO, **options)
    data = path.read_bytes()
    pieces = 15 if "tiled" in options else 18 if "interleave" in options else 6
    words = "tiles" if "tiled" in options else "strips"
    for content, message in (
        (change_table(data, tag, count=2), rf"its rows need {pieces} {words}, and it has [12];"),
        (change_table(data, tag, zero=3), f"its rows need {pieces} {words}, and it has {pieces - 1}"),
    ):
        path.write_bytes(content)
        with pytest.raises(DamagedScene, match=message), open_scene(str(path)):
            pass
        with pytest.raises(DamagedImage, match=message):
            OpenScene(content, Limits())


def test_a_scene_in_a_big_endian_bigtiff_is_refused_because_its_tables_are_not_read(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO, BIGTIFF="YES", ENDIANNESS="BIG")
    with pytest.raises(SceneError, match="big-endian BigTIFF is not read; save it little-endian"), open_scene(path):
        pass


@pytest.mark.parametrize("nodata", [None, 7])
def test_a_sparse_tile_is_nodata_where_the_file_has_one_and_else_0_as_gdal_documents(
    tmp_path: Path, nodata: int | None
) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO[:32, :32], **TILED, nodata=nodata)
    with rasterio.open(path) as file:
        profile = file.profile | {"width": 64, "SPARSE_OK": True}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(PHOTO[:32, :32], 2, 0), window=rasterio.windows.Window(0, 0, 32, 32))
    with open_scene(path) as scene:
        samples, mask = scene.read(Window(0, 32, 32, 32), [1, 2, 3])
    assert (samples == (nodata or 0)).all()
    assert (mask == (nodata is None)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "complex64"}, "complex samples"),
        ({"photometric": "miniswhite", "grey": True, "dtype": "float32"}, "stores white as its least value, as float32"),
    ],
)
def test_what_is_not_read_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    path = tmp_path / "a.tif"
    samples = PHOTO.astype(str(options.pop("dtype", "uint8")))
    if options.pop("grey", False):
        samples = samples[:, :, 0]
    write_scene(path, samples, **options)
    with pytest.raises(SceneError, match=message), open_scene(str(path)):
        pass


COEFFICIENTS = {key: [1.0] + [0.0] * 19 for key in ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")}
RPCS = RPC(0, 100, 48, 0.1, line_off=48, line_scale=48, long_off=8, long_scale=0.1, samp_off=80, samp_scale=80, **COEFFICIENTS)
POINTS = [rasterio.control.GroundControlPoint(r, c, float(c), -float(r)) for r, c in ((0, 0), (0, 9), (9, 0))]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"gcps": (POINTS, rasterio.crs.CRS.from_epsg(32632))},
            "has ground control points and no transform, .*gdalwarp -t_srs",
        ),
        ({"rpcs": RPCS}, r"has rational polynomial coefficients \(RPCs\) and no transform, .*gdalwarp -rpc"),
        ({"rpcs": RPCS, "crs": rasterio.crs.CRS.from_epsg(4326)}, "has rational polynomial coefficients"),
    ],
    ids=["points", "coefficients", "coefficients with a system"],
)
def test_what_ties_pixels_to_the_ground_without_a_transform_is_named(
    tmp_path: Path, facts: dict[str, object], message: str
) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO, crs=None, transform=Affine.identity())
    with rasterio.open(path, "r+") as file:
        for name, value in facts.items():
            setattr(file, name, value)
    with open_scene(path) as scene, pytest.raises(NoCoordinates, match=message):
        scene.place.require(scene.name)


@pytest.mark.parametrize("head", [b"II*\0", b"II+\0\x08\0\0\0"])
@pytest.mark.parametrize("name", ["a.tif", "a.tif.ovr"])
def test_a_file_that_ends_in_its_head_is_damage(tmp_path: Path, head: bytes, name: str) -> None:
    path = write_scene(tmp_path / "a.tif", PHOTO)
    (tmp_path / name).write_bytes(head)
    with pytest.raises(DamagedScene, match=f"{name}: the image is damaged: its tags cannot be read"), open_scene(path):
        pass


def test_a_picture_beside_an_envi_scene_of_its_name_is_read_as_itself(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.dat", 255 - PHOTO, driver="ENVI")
    path = write_scene(tmp_path / "a.png", PHOTO, driver="PNG")
    with open_scene(path) as scene:
        assert (scene.read(WHOLE, [1, 2, 3])[0] == np.moveaxis(PHOTO, 2, 0)).all()


def test_bytes_are_read_by_the_allowed_drivers_alone(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", PHOTO)
    with open_scene((tmp_path / "a.tif").read_bytes(), SAFE_DRIVERS) as scene:
        assert (scene.read(WHOLE, [1])[0][0] == PHOTO[:, :, 0]).all()
    for data in (vrt("").encode(), b"", b"no raster"):
        with pytest.raises(SceneError, match="not read as a scene"), open_scene(data, SAFE_DRIVERS):
            pass


def test_bigtiff_strips_of_one_row_and_a_row_alone_are_read(tmp_path: Path) -> None:
    big = write_scene(tmp_path / "big.tif", PHOTO, BIGTIFF="YES", blockysize=1)
    assert struct.unpack("<H", Path(big).read_bytes()[2:4]) == (43,)
    flat = write_scene(tmp_path / "flat.tif", PHOTO[:1], transform=north_up(0.1))
    for path, height in ((big, 96), (flat, 1)):
        with open_scene(path) as scene:
            assert scene.block[0] == 1
            assert (scene.read(Window(0, 0, height, 160), [1])[0][0] == PHOTO[:height, :, 0]).all()
