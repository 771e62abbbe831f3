"""What is no image, too large an image or a damaged one becomes one of four errors, whatever its bytes."""

from __future__ import annotations

import re
import struct
import zlib

import pytest
from PIL import Image

from benchmarks.harness.image_files import file_of
from imaging.decoding import Limits, decode, decoder_errors, read_size
from imaging.errors import DamagedImage, EmptyImage, ImageTooLarge, UnknownImageType
from tests.support.imaging.corpus import FORMATS, LIMITS, NOISE, SMALL


def test_the_limit_is_the_last_size_that_passes() -> None:
    data = file_of(Image.new("L", (100, 10)), "PNG")
    assert decode(data, Limits(megapixels=0.001)).shape == (10, 100, 3)
    with pytest.raises(ImageTooLarge, match=r"100x10 pixels .*at most 0\.0009 megapixels"):
        decode(data, Limits(megapixels=0.0009))


@pytest.mark.parametrize("function", [decode, read_size])
def test_no_bytes_are_an_empty_image(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EmptyImage, match="0 bytes"):
        function(b"", LIMITS)


CHOICES = "PNG, JPEG, WEBP, GIF, BMP, TIFF"
VALUE, NAME = "is text that a program wrote for a value", "is a file's name"
TEXTS: dict[str, tuple[bytes, ...]] = {
    VALUE: (
        b"[object FormData]", b"[object File]", b"[object Promise]\n", b"undefined", b"null", b"None", b"NaN", b"false", b"{}",
        b" [] ", b"<_io.BufferedReader name='a.jpg'>", b"b'\\xff\\xd8\\xff\\xe0'", b"137,80,78,71,13,10", b"[object Blob]",
    ),
    NAME: (b"photo.jpg", b"@photo.JPEG\n", rb"C:\photos\a b.png", "/home/zo\u00eb/\u00e9t\u00e9.heic".encode()),
    "is a URL": (b"blob:http://localhost/1f", b"https://example.com/a.jpg"),
    "is a data URL": (b"data:image/png;base64,iVBOR", b'"data:image/jpeg;base64,/9j/"', b"data:;base64,iVBORw0K"),
    "is base64": (b"iVBORw0KGgoAAAANSUhEUg", b'"/9j/4AAQSkZJRg"', b"b'/9j/4AAQSkZJRg'"),
    "is JSON": (b"[137, 80, 78, 71]", b'{"0":137,"1":80}', b'{"image": "x"}'),
    "it is text": (b"hello, this is text", "\u732b ".encode() * 999, "\u00e9".encode() * 700, b"{name}\r\n\tx", b"x" * 4000),
}  # fmt: skip


@pytest.mark.parametrize(("data", "cause"), [(data, cause) for cause, texts in TEXTS.items() for data in texts])
def test_a_text_is_told_to_be_one(data: bytes, cause: str) -> None:
    with pytest.raises(UnknownImageType, match=f"this file ({re.escape(cause)}|is none of {CHOICES}.*; {cause})") as error_info:
        decode(data, LIMITS)
    assert "send" in str(error_info.value)


PPM = file_of(Image.new("RGB", (4, 4)), "PPM")  # a format that Pillow reads


@pytest.mark.parametrize(
    "data", [b"\0" * 100, b"\x89", b"\xc3", b"abc\0def", bytes(range(256)) * 4, b"\xff\xfe", b"a\x1b[0m", PPM]
)
def test_other_bytes_are_an_unknown_type_and_not_text_and_the_choices_are_named(data: bytes) -> None:
    with pytest.raises(UnknownImageType, match=rf"^(?!.*it is text).*{CHOICES}"):
        decode(data, LIMITS)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_ends_within_its_pixels_or_its_header_is_damaged(format: str) -> None:
    data = file_of(Image.fromarray(NOISE), format)
    with pytest.raises(
        DamagedImage, match=r"is damaged: (the file ends early|the (WEBP|AVIF) cannot be decoded); is the file complete"
    ):
        decode(data[: len(data) * 2 // 3], LIMITS)
    with pytest.raises(DamagedImage):
        decode(SMALL[format][:20], LIMITS)


@pytest.mark.parametrize("format", ["GIF", "BMP", "PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("axis", [0, 1])
def test_an_image_without_pixels_is_refused_by_its_header(format: str, axis: int) -> None:
    where = {"GIF": 6, "BMP": 18, "PNG": 16}
    data = bytearray(file_of(Image.new("RGB", (3, 2)), format))
    if format == "JPEG":
        start, length = data.index(b"\xff\xc0") + 7 - 2 * axis, 2
    elif format == "WEBP":
        start, length = 26 + 2 * axis, 2
    elif format == "TIFF":
        start, length = data.index(struct.pack("<H", 256 + axis)) + 8, 4
    else:
        length = 2 if format == "GIF" else 4
        start = where[format] + length * axis
    data[start : start + length] = bytes(length)
    if format == "GIF":  # its frame as well
        frame = data.index(b",\0\0\0\0") + 5
        data[frame + 2 * axis : frame + 2 * axis + 2] = bytes(2)
    for function in (read_size, decode):
        with pytest.raises((DamagedImage, UnknownImageType)):
            function(bytes(data), LIMITS)


def test_a_lack_of_memory_is_not_called_damage() -> None:
    with pytest.raises(MemoryError), decoder_errors(SMALL["PNG"]):
        raise MemoryError


@pytest.mark.parametrize(
    "error", [OSError, SyntaxError, EOFError, ZeroDivisionError, OverflowError, struct.error, zlib.error, RecursionError]
)
def test_whatever_a_decoder_raises_becomes_damage_with_its_cause(error: type[Exception]) -> None:
    with (
        pytest.raises(DamagedImage, match="the PNG cannot be decoded; is the file complete") as error_info,
        decoder_errors(SMALL["PNG"]),
    ):
        raise error("what went wrong")
    assert isinstance(error_info.value.__cause__, error)
