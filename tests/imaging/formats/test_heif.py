"""HEIF and HEIC: files of several writers give libheif's pixels, turned once, and damaged ones are refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from struct import pack

import numpy as np
import pytest
from PIL import Image, ImageCms

pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")

from benchmarks.harness.image_files import file_of  # noqa: E402
from imaging.decoding import OpenImage, decode, read_size  # noqa: E402
from imaging.errors import DamagedImage, ImageTooLarge, UnknownImageType  # noqa: E402
from tests.support.costs import threads_of  # noqa: E402
from tests.support.images import Pixels, exif_of, make_photo  # noqa: E402
from tests.support.imaging.corpus import LIMITS  # noqa: E402
from tests.support.imaging.heic_files import KVAZAAR, heic_of  # noqa: E402
from tests.support.imaging.heif_files import GAIN_MAP, cropped, heif, lossless_hevc, mirrored, turned  # noqa: E402
from tests.support.imaging.peaks import printed  # noqa: E402
from tests.support.imaging.samples import over_white, rgb, upright  # noqa: E402

PHOTO = make_photo(40, 70)
GREY, OTHER = make_photo(64, 72)[..., 0].copy(), make_photo(64, 72)[::-1, :, 1].copy()
CODED = lossless_hevc(GREY)
TILES = [lossless_hevc(tile) for rows in np.split(make_photo(128, 192)[..., 0], 2) for tile in np.split(rows, 3, axis=1)]
GRID = heif(TILES, grid=(2, 3, 184, 120))
COLOR = Image.fromarray(PHOTO)
WRITERS = {
    "x265": heic_of(COLOR),
    "x265, tiles": heic_of(Image.fromarray(make_photo(200, 300)), tile_size=128),
    "x265, 4:4:4 without loss": heic_of(COLOR, quality=-1, chroma=444, matrix_coefficients=0),
    "x265, 10 bits": heic_of(COLOR, bits=10),
    "x265, 10 bits in 4:2:2": heic_of(COLOR, bits=10, chroma=422),
} | {f"kvazaar, {name}": data for name, data in KVAZAAR.items()}


@pytest.mark.parametrize("data", WRITERS.values(), ids=WRITERS)
def test_files_of_each_writer_give_the_pixels_of_libheif(data: bytes) -> None:
    image = pillow_heif.open_heif(data).to_pillow()
    assert read_size(data, LIMITS) == image.size[::-1]
    pixels = np.asarray(image.convert("RGBA"))
    expected = over_white(pixels[..., :3], pixels[..., 3])
    assert np.abs(decode(data, LIMITS).astype(int) - expected).max() <= (image.mode == "RGBA")


def test_pixels_are_those_that_were_written() -> None:
    np.testing.assert_array_equal(decode(heif([CODED]), LIMITS), rgb(GREY))
    assert np.abs(decode(heif([lossless_hevc(GREY, 10)]), LIMITS).astype(int) - rgb(GREY)).max() <= 1
    np.testing.assert_array_equal(decode(GRID, LIMITS), rgb(make_photo(128, 192)[:120, :184, 0]))
    np.testing.assert_array_equal(decode(WRITERS["x265, 4:4:4 without loss"], LIMITS), PHOTO)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", PHOTO),
        ("grey", rgb(PHOTO[..., 0])),
        ("grid", make_photo(120, 180)),
        ("alpha", over_white(PHOTO, PHOTO[::-1, :, 1])),
        ("turned", np.rot90(PHOTO, -1)[:, ::-1]),
    ],
)
def test_files_of_another_encoder_show_the_photo_that_it_read(name: str, expected: Pixels) -> None:
    assert np.abs(decode(KVAZAAR[name], LIMITS).astype(int) - expected).mean() < 3


@pytest.mark.parametrize("brands", [(b"heic", b"mif1"), (b"heix",), (b"hevc", b"mif1"), (b"mif1",), (b"MiHB", b"heic")])
def test_any_brand_of_the_standard_is_enough(brands: tuple[bytes, ...]) -> None:
    np.testing.assert_array_equal(decode(heif([CODED], brands=brands), LIMITS), rgb(GREY))


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_properties_turn_and_mirror_it_in_their_order(quarters: int, axis: int | None) -> None:
    flips = {0: lambda pixels: pixels[::-1], 1: lambda pixels: pixels[:, ::-1], None: lambda pixels: pixels}
    flip, boxes = flips[axis], [] if axis is None else [mirrored(axis)]
    first, last = heif([CODED], properties=[turned(quarters), *boxes]), heif([CODED], properties=[*boxes, turned(quarters)])
    for data, expected in ((first, flip(np.rot90(GREY, quarters))), (last, np.rot90(flip(GREY), quarters))):
        assert read_size(data, LIMITS) == expected.shape
        np.testing.assert_array_equal(decode(data, LIMITS), rgb(expected))
    np.testing.assert_array_equal(
        decode(heif(TILES, grid=(2, 3, 184, 120), properties=[turned(quarters)]), LIMITS),
        np.rot90(decode(GRID, LIMITS), quarters),
    )


def test_a_part_that_is_shown_is_cut_before_it_is_turned() -> None:
    part = GREY[24:44, 16:46]
    np.testing.assert_array_equal(decode(heif([CODED], properties=[cropped(30, 20, -5, 2)]), LIMITS), rgb(part))
    data = heif([CODED], properties=[cropped(30, 20, -5, 2), turned(1)])
    assert read_size(data, LIMITS) == (30, 20)
    np.testing.assert_array_equal(decode(data, LIMITS), rgb(np.rot90(part)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_nothing_once_more_nor_alone(orientation: int) -> None:
    """pillow-heif writes EXIF's orientation as properties too. Without them it turns nothing."""
    both = heic_of(COLOR, exif=exif_of(orientation).tobytes(), quality=-1, chroma=444, matrix_coefficients=0)
    np.testing.assert_array_equal(decode(both, LIMITS), upright(PHOTO, orientation))
    still = both.replace(b"irot\1", b"irot\0").replace(b"irot\2", b"irot\0").replace(b"irot\3", b"irot\0")
    if b"imir" not in both:
        assert b"Exif\0" in still
        np.testing.assert_array_equal(decode(still, LIMITS), PHOTO)
        assert ("lacks the property" in OpenImage(still, LIMITS).decode().remark) == (orientation > 1)
    assert not OpenImage(both, LIMITS).decode().remark
    other = Image.Exif()
    other[0x0113] = orientation  # then the properties are not written
    alone = heic_of(COLOR, exif=other.tobytes(), quality=-1, chroma=444, matrix_coefficients=0)
    image = OpenImage(alone.replace(b"\1\x13\0\3", b"\1\x12\0\3"), LIMITS).decode()
    np.testing.assert_array_equal(image.pixels, PHOTO)
    assert ("lacks the property" in image.remark) == (orientation > 1)


def test_transparent_pixels_lie_over_white() -> None:
    data = heif([CODED], beside=lossless_hevc(OTHER))
    assert np.abs(decode(data, LIMITS).astype(int) - over_white(rgb(GREY), OTHER)).max() <= 1
    tiles = heif(TILES, grid=(2, 3, 184, 120), beside=lossless_hevc(make_photo(120, 184)[..., 1].copy()))
    expected = over_white(decode(GRID, LIMITS), make_photo(120, 184)[..., 1])
    assert np.abs(decode(tiles, LIMITS).astype(int) - expected).max() <= 1
    alpha = PHOTO[::-1, :, 1]
    close = decode(heic_of(Image.fromarray(np.dstack([PHOTO, alpha])), chroma=444, quality=-1, matrix_coefficients=0), LIMITS)
    assert np.abs(close.astype(int) - over_white(PHOTO, alpha)).max() <= 1


def test_other_images_of_the_file_change_nothing() -> None:
    images = (GREY, OTHER, GREY[:, :64])
    for primary, pixels in enumerate(images, 1):
        np.testing.assert_array_equal(decode(heif([*map(lossless_hevc, images)], primary=primary), LIMITS), rgb(pixels))
    gain = heif([CODED], beside=lossless_hevc(OTHER[:, :64]), meaning=GAIN_MAP)
    np.testing.assert_array_equal(decode(gain, LIMITS), rgb(GREY))


def test_an_image_that_libheif_leaves_out_gives_no_mask_of_another() -> None:
    data = heif([CODED], beside=lossless_hevc(OTHER))
    swap = data.replace(b"auxl" + pack(">HHH", 2, 1, 1), b"thmb" + pack(">HHH", 1, 1, 2))  # the main one as a thumbnail
    assert pillow_heif.open_heif(swap).info["primary"] is False
    with pytest.raises(UnknownImageType, match="main image of the HEIF is of a kind that is not read"):
        decode(swap, LIMITS)
    place = data.index(b"hvc1")
    with pytest.raises(DamagedImage):
        decode(data[:place] + b"zzzz" + data[place + 4 :], LIMITS)


def test_a_codec_that_is_not_read_is_named_as_such() -> None:
    data = file_of(COLOR, "AVIF").replace(b"avif", b"heic", 2)
    with pytest.raises(UnknownImageType, match=r"of a kind that is not read \(its codec\)"):
        decode(data, LIMITS)


def test_a_profile_is_kept_for_pictures() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert OpenImage(heic_of(COLOR, icc_profile=profile), LIMITS).decode().profile == profile


def test_the_size_is_checked_before_pixels_are_decoded() -> None:
    huge = heif([replace(CODED, size=(60_000, 50_000))])
    with pytest.raises(ImageTooLarge, match="60000x50000"):
        read_size(huge, LIMITS)
    for size in ((8, 8), (5000, 5000)):
        with pytest.raises(DamagedImage):
            decode(heif([replace(CODED, size=size)]), LIMITS)


@pytest.mark.parametrize("tile", range(6))
def test_a_tile_that_cannot_be_decoded_is_refused(tile: int) -> None:
    """libheif leaves it black, or green."""
    tiles = [replace(each, unit=each.unit[:4] + bytes(40)) if at == tile else each for at, each in enumerate(TILES)]
    data = heif(tiles, grid=(2, 3, 184, 120))
    if tile:
        assert pillow_heif.open_heif(data).to_pillow().size == (184, 120)
    with pytest.raises(DamagedImage, match=r"tiles cannot be decoded|the HEIF cannot be decoded"):
        decode(data, LIMITS)


@pytest.mark.parametrize("data", [GRID, heif([CODED]), *WRITERS.values()], ids=["grid", "grey", *WRITERS])
@pytest.mark.parametrize("share", [0.99, 0.7, 0.3])
def test_a_file_that_ends_early_is_refused(data: bytes, share: float) -> None:
    with pytest.raises(DamagedImage):
        decode(data[: int(len(data) * share)], LIMITS)


def test_a_black_photo_is_whole() -> None:
    black = lossless_hevc(np.zeros((64, 64), np.uint8))
    assert not decode(heif([black] * 4, grid=(2, 2, 128, 128)), LIMITS).any()
    assert not decode(heic_of(Image.new("RGB", (300, 200)), tile_size=128), LIMITS).any()


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_decoding_has_one_thread_beside_its_own() -> None:
    data = heic_of(Image.fromarray(make_photo(700, 900)), tile_size=256)
    before, most = threads_of(lambda: decode(data, LIMITS))
    assert most <= before + 1


WITHOUT = """
import sys
sys.modules["pillow_heif"] = None
from imaging.decoding import IMAGE_ENDINGS, IMAGE_FORMATS, Limits, decode, ending_problem
from imaging.errors import UnknownImageType
assert "HEIF" not in IMAGE_FORMATS and ".heic" not in IMAGE_ENDINGS
print(ending_problem(".HEIC"))
try:
    decode(sys.stdin.buffer.read(), Limits())
except UnknownImageType as error:
    print(error)
"""


@pytest.mark.parametrize(("brand", "name"), [(b"heic", "HEIC"), (b"mif1", "HEIF")])
def test_without_its_extra_it_is_refused_with_what_to_do(brand: bytes, name: str) -> None:
    by_name, by_bytes = printed(WITHOUT, data=heif([CODED], brands=(brand, b"heic"))).splitlines()
    for text, kind in ((by_name, "HEIC"), (by_bytes, name)):
        assert text.startswith(f"this file is {kind}; accepted are PNG, JPEG")
        assert "sips -s format jpeg" in text
        assert text.endswith("or install this package with its extra heif")
