"""What follows an image's pixels never decides about them; pixels that are missing are damage, whatever follows."""

from __future__ import annotations

import struct
import zlib
from itertools import product
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.image_files import file_of
from imaging.decoding import OpenImage, decode, read_size
from imaging.errors import DamagedImage
from tests.support.images import Pixels, encode, exif_of, make_photo
from tests.support.imaging.corpus import LIMITS
from tests.support.imaging.samples import oriented, upright, with_chunk

PHOTO = make_photo(120, 176)
NOISE = np.random.default_rng(1).integers(0, 256, 70_000, np.uint8).tobytes()
SECOND = encode(PHOTO[::-1], "JPEG")
TRAILERS = {
    "nothing": b"",
    "a byte": b"\0",
    "fill bytes": b"\xff" * 9,
    "a phone's": b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1535000000000\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + NOISE + b"SEFT",
    "a second image": SECOND,
    "a second image without its start": SECOND[2:],
    "markers": b"".join(bytes([0xFF, kind, 0, 4, 1, 2]) for kind in (0xDA, 0xC4, 0xC0, 0xDB, 0xD0, 0xDD, 0xD9, 0x02)) + NOISE,
    "text": b"<x:xmpmeta/>" * 9000,
    "zeros": bytes(9000),
    "all bytes but FF": bytes(range(255)) * 40,
    "text, and an end marker": b"a page of HTML\r\n" * 900 + b"\xff\xd9" + SECOND,
}
KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {},
    "4:4:4 with restarts": {"subsampling": 0, "restart_marker_blocks": 3},
    "grey": {"mode": "L"},
    "cmyk": {"mode": "CMYK"},
    "progressive": {"progressive": True},
}
CASES = [*product(KINDS, TRAILERS)]


def jpeg_of(kind: str) -> bytes:
    options = dict(KINDS[kind])
    return file_of(Image.fromarray(PHOTO).convert(options.pop("mode", "RGB")), "JPEG", quality=90, **options)


@pytest.mark.parametrize(("kind", "trailer"), CASES)
def test_a_jpeg_without_an_end_marker_has_the_pixels_of_the_one_with_it(kind: str, trailer: str) -> None:
    data = jpeg_of(kind)
    for end in (b"", b"\xff\xd9"):
        np.testing.assert_array_equal(decode(data[:-2] + end + TRAILERS[trailer], LIMITS), decode(data, LIMITS))
    np.testing.assert_array_equal(decode(data[:-2] + TRAILERS[trailer], LIMITS, (30, 44)), decode(data, LIMITS, (30, 44)))


@pytest.mark.parametrize(("kind", "trailer"), CASES)
def test_a_jpeg_that_ends_early_is_damaged_whatever_follows(kind: str, trailer: str) -> None:
    """Data without bytes FF decode to as many pixels as are missing."""
    data = jpeg_of(kind)
    start = data.rindex(b"\xff\xda") + 14
    for count in (len(data) // 3, 400, *([1, 2, 3, 9, 40] if trailer in ("nothing", "fill bytes") else [])):
        for end in (b"", b"\xff\xd9") if count > 40 and kind != "progressive" else (b"",):
            if len(data) - 2 - count > start:
                with pytest.raises(DamagedImage, match=r"is the file complete\? .* jpegtran -copy all"):
                    decode(data[: -2 - count] + end + TRAILERS[trailer], LIMITS)


DAMAGED = {
    "a profile without a name": (b"iCCP", b"x" * 90),
    "an empty profile": (b"iCCP", b""),
    "a short gamma": (b"gAMA", b"\0"),
    "short chromaticities": (b"cHRM", b"\0" * 5),
    "a short resolution": (b"pHYs", b"\0"),
    "an unknown compression": (b"zTXt", b"a\0\7abc"),
    "a control of an animation alone": (b"acTL", b"\0"),
    "a short control of a frame": (b"fcTL", b"\0" * 10),
    "a first frame of a part": (b"fcTL", struct.pack(">5I2H2B", 0, 60, 40, 20, 10, 1, 1, 0, 0)),
    "EXIF as a text of unknown compression": (b"zTXt", b"Raw profile type exif\0\7abc"),
}
CHECKED = {
    kind: (kind, b"a\0\0" + zlib.compress(b"b") + bytes(32)) for kind in (b"zTXt", b"iTXt", b"tEXt", b"pHYs", b"tIME", b"gAMA")
}


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
@pytest.mark.parametrize(
    ("kind", "content", "checksum"), [(*case, 1) for case in DAMAGED.values()] + [(*case, 0) for case in CHECKED.values()]
)
def test_a_damaged_chunk_that_is_not_of_the_pixels_changes_nothing(
    kind: bytes, content: bytes, checksum: int, late: bool
) -> None:
    photo = oriented(PHOTO, "PNG", 6)
    data = with_chunk(photo, kind, content, checksum=checksum, late=late)
    np.testing.assert_array_equal(decode(data, LIMITS), upright(PHOTO, 6))
    assert read_size(data, LIMITS) == (176, 120)


def test_what_is_behind_the_pixels_of_a_png_may_be_missing_or_anything() -> None:
    data = encode(PHOTO)
    end = data.rindex(b"IEND") - 4
    for tail in (b"", b"\0\0\xff\xfftEXtcut", NOISE, data[end:] + NOISE, data):
        np.testing.assert_array_equal(decode(data[:end] + tail, LIMITS), PHOTO)
    for part in (data[: end - 20], data[: end // 2], data[:40]):
        with pytest.raises(DamagedImage):
            decode(part, LIMITS)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS", b"IDAT"])
def test_a_wrong_checksum_of_what_decides_about_the_pixels_is_damage(kind: bytes) -> None:
    ids = Image.fromarray(PHOTO[..., 0] // 8)
    ids.putpalette(bytes(range(96)))
    data = bytearray(file_of(ids, "PNG", transparency=3))
    decode(bytes(data), LIMITS)
    start = data.index(kind) - 4
    data[start + 8 + int.from_bytes(data[start : start + 4], "big")] ^= 1
    with pytest.raises(DamagedImage):
        decode(bytes(data), LIMITS)


def test_an_orientation_that_cannot_be_read_is_told() -> None:
    exif = exif_of(6).tobytes()
    png = with_chunk(encode(PHOTO), b"eXIf", exif.removeprefix(b"Exif\0\0"), checksum=0)
    for data in (png, encode(PHOTO, "JPEG", exif=b"Exif\0\0garbage1 and more"), encode(PHOTO, exif=b"garbage1 and more")):
        assert OpenImage(data, LIMITS).decode().remark.startswith("EXIF cannot be read")
        assert decode(data, LIMITS).shape == PHOTO.shape
    for data in (encode(PHOTO), encode(PHOTO, "JPEG", exif=exif)):
        assert not OpenImage(data, LIMITS).decode().remark


def animated(pixels: Pixels, canvas: tuple[int, int], left: int, top: int, alpha: bool) -> bytes:
    """A WebP without loss, whose canvas (height, width) has these pixels at an even place in its first frame."""

    def numbers(*values: int) -> bytes:
        return b"".join(value.to_bytes(3, "little") for value in values)

    def box(kind: bytes, content: bytes) -> bytes:
        return kind + len(content).to_bytes(4, "little") + content

    frame = numbers(left // 2, top // 2, pixels.shape[1] - 1, pixels.shape[0] - 1, 100) + b"\0"
    size = bytes([0x02 | alpha << 4, 0, 0, 0]) + numbers(canvas[1] - 1, canvas[0] - 1)
    frames = box(b"ANMF", frame + encode(pixels, "WEBP", lossless=True)[12:]) * 2
    return box(b"RIFF", b"WEBP" + box(b"VP8X", size) + box(b"ANIM", b"\0" * 6) + frames)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("trailer", [b"", b"EXIF\x1a\0\0\0" + exif_of(6).tobytes()[6:]], ids=["alone", "exif behind"])
def test_around_a_smaller_first_frame_of_a_webp_is_white(alpha: bool, trailer: bytes) -> None:
    expected = np.full((150, 200, 3), 255, np.uint8)
    expected[10:130, 20:196] = PHOTO
    data = animated(PHOTO, (150, 200), 20, 10, alpha) + trailer
    np.testing.assert_array_equal(decode(data, LIMITS), expected)
    whole = animated(PHOTO, (120, 176), 0, 0, alpha) + trailer
    np.testing.assert_array_equal(decode(whole, LIMITS), PHOTO)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_what_follows_the_image_changes_nothing_in_any_format(format: str) -> None:
    data = encode(PHOTO, format)
    for trailer in (NOISE, bytes(9), data, encode(PHOTO[::-1], "PNG"), SECOND):
        np.testing.assert_array_equal(decode(data + trailer, LIMITS), decode(data, LIMITS))
