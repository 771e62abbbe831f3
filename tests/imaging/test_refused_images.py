"""What is no image, too large an image or a damaged one becomes one of four errors, whatever its bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.harness.image_files import bomb, file_of
from imaging.decoding import Limits, decode, decoder_errors, read_size
from imaging.errors import DamagedImage, EmptyImage, ImageError, ImageTooLarge, UnknownImageType
from tests.support.imaging.corpus import FORMATS, LIMITS, NOISE, SAMPLES, SMALL


@pytest.mark.parametrize("function", [decode, read_size])
def test_an_image_above_the_limit_is_refused_with_both_numbers(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ImageTooLarge, match=r"20000x20000.*400\.0 megapixels.*at most 100 megapixels"):
        function(bomb(20000), LIMITS)


def test_the_limit_is_the_last_size_that_passes() -> None:
    data = file_of(Image.new("L", (100, 10)), "PNG")
    assert decode(data, Limits(megapixels=0.001)).shape == (10, 100, 3)
    with pytest.raises(ImageTooLarge, match=r"at most 0\.0009 megapixels"):
        decode(data, Limits(megapixels=0.0009))


@pytest.mark.parametrize("function", [decode, read_size])
def test_no_bytes_are_an_empty_image(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EmptyImage, match="0 bytes"):
        function(b"", LIMITS)


@pytest.mark.parametrize(
    "data",
    [b"hello, this is text", b"%PDF-1.7\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0" * 100, b"\x89"],
    ids=["text", "pdf", "svg", "zeros", "one byte"],
)
def test_other_bytes_are_an_unknown_type_and_the_choices_are_named(data: bytes) -> None:
    with pytest.raises(UnknownImageType, match="PNG, JPEG, WEBP, GIF, BMP, TIFF"):
        decode(data, LIMITS)


def test_formats_outside_the_list_are_unknown_though_pillow_reads_them() -> None:
    with pytest.raises(UnknownImageType):
        decode(file_of(Image.new("RGB", (4, 4)), "PPM"), LIMITS)


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_file_is_damaged(format: str) -> None:
    data = file_of(Image.fromarray(NOISE), format)
    with pytest.raises(DamagedImage, match="is damaged: the file ends early; is the file complete"):
        decode(data[: len(data) * 2 // 3], LIMITS)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_ends_within_its_header_is_damaged(format: str) -> None:
    with pytest.raises(DamagedImage):
        decode(SMALL[format][:20], LIMITS)


def test_pixels_that_do_not_inflate_are_damaged() -> None:
    data = bytearray(SMALL["PNG"])
    start = data.index(b"IDAT") + 4
    content = b"\xff" * 40
    data[start : start + 40] = content
    length = struct.unpack(">I", data[start - 8 : start - 4])[0]
    data[start + length : start + length + 4] = struct.pack(">I", zlib.crc32(data[start - 4 : start + length]))
    with pytest.raises(DamagedImage):
        decode(bytes(data), LIMITS)


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
    "error",
    [OSError, SyntaxError, EOFError, ZeroDivisionError, OverflowError, struct.error, zlib.error, RecursionError],
)
def test_whatever_a_decoder_raises_becomes_damage_with_its_cause(error: type[Exception]) -> None:
    with (
        pytest.raises(DamagedImage, match="the PNG cannot be decoded; is the file complete") as error_info,
        decoder_errors(SMALL["PNG"]),
    ):
        raise error("what went wrong")
    assert isinstance(error_info.value.__cause__, error)


def test_every_image_error_is_an_image_error() -> None:
    for kind in (EmptyImage, UnknownImageType, ImageTooLarge, DamagedImage):
        assert issubclass(kind, ImageError)


MUTATION = st.tuples(st.integers(0, 1 << 16), st.integers(0, 255))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(FORMATS), st.lists(MUTATION, min_size=1, max_size=6), st.integers(0, 1 << 16))
def test_corrupted_bytes_give_an_image_or_an_image_error(format: str, changes: list[tuple[int, int]], length: int) -> None:
    check_changes(SMALL[format], changes, length)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(["16-bit grey tiff", "transparent gif", "transparent palette png", "rgba webp", "cmyk jpeg", "1-bit tiff"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_corrupted_headers_give_an_image_or_an_image_error(kind: str, changes: list[tuple[int, int]]) -> None:
    check_changes(SAMPLES[kind].data, changes, 0)


def check_changes(original: bytes, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(original)
    for position, value in changes:
        data[position % len(data)] = value
    if length % 4 == 0:
        del data[len(data) - length % len(data) :]
    limits = Limits(megapixels=1)
    try:
        image = decode(bytes(data), limits)
    except ImageError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert read_size(bytes(data), limits) == image.shape[:2]
