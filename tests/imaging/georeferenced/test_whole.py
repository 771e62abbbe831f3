"""The bytes of a georeferenced TIFF are decoded as a whole, and nothing else is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from imaging.decoding import Limits
from imaging.errors import DamagedImage, EmptyImage, ImageTooLarge, UnknownImageType
from imaging.georeferenced.whole import OpenScene
from tests.support.images import encode, make_photo
from tests.support.imaging.scenes import UTM, north_up, scene_file, write_scene

LIMITS = Limits()


def test_pixels_data_and_place() -> None:
    photo, mask = make_photo(40, 50), np.ones((40, 50), bool)
    mask[:, :7] = False
    data = scene_file(photo, mask=mask)
    scene = OpenScene(data, LIMITS)
    result = scene.decode(with_photo=True)
    assert scene.size == (40, 50)
    assert np.array_equal(result.pixels, photo)
    assert np.array_equal(result.photo, photo)
    assert np.array_equal(result.valid, mask)
    assert scene.place.crs.to_string() == UTM
    assert scene.place.transform == north_up()
    assert scene.decode((20, 25)).pixels.shape == (20, 25, 3)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", EmptyImage, "0 bytes"),
        (encode(make_photo(9, 9), "PNG"), UnknownImageType, "this file is no TIFF"),
        (encode(make_photo(9, 9), "TIFF"), UnknownImageType, "the image has no coordinate system"),
        (scene_file(make_photo(9, 9), transform=Affine.identity()), UnknownImageType, "the image has no transform"),
        (b"II*\0" + bytes(40), UnknownImageType, "is not read as a scene"),
        (b'<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>', UnknownImageType, "this file is no TIFF"),
    ],
)
def test_other_files(data: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        OpenScene(data, LIMITS)


def test_limits_on_the_size() -> None:
    data = scene_file(make_photo(1100, 1000))
    with pytest.raises(ImageTooLarge, match=r"1000x1100 pixels \(1\.1 megapixels\); at most 1 megapixels"):
        OpenScene(data, Limits(1.0))


def test_damage() -> None:
    data = scene_file(make_photo(300, 300), compress="deflate", tiled=True, blockxsize=128, blockysize=128)
    with pytest.raises(DamagedImage, match="cannot be read"):
        OpenScene(data[:3000] + bytes(len(data) - 3000), LIMITS).decode()


def test_files_beside_a_scene_are_not_read(tmp_path: Path) -> None:
    """A palette or coordinates in a file of the same name would change what GDAL reads of a path."""
    path = Path(write_scene(tmp_path / "scene.tif", make_photo(20, 20), crs=None))
    data = path.read_bytes()
    (tmp_path / "scene.tif.aux.xml").write_text(f"<PAMDataset><SRS>{UTM}</SRS></PAMDataset>")
    assert path.read_bytes() == data
    with pytest.raises(UnknownImageType, match="no coordinate system"):
        OpenScene(data, LIMITS)
