"""What a file says of its pixels is what decoding gives, or the file is refused."""

from __future__ import annotations

import base64
import struct
import zlib
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks.harness.image_files import chunk, file_of
from imaging.decoding import decode, read_size
from imaging.errors import DamagedImage, UnknownImageType
from tests.support.images import exif_of
from tests.support.imaging.corners import (
    ALPHA,
    GREY,
    PALETTE,
    PICTURE,
    SIZE,
    corners,
    gif,
    packed_rows,
    png,
    tag_values,
    tiff,
    with_tag,
)
from tests.support.imaging.corpus import LIMITS, NOISE
from tests.support.imaging.samples import over_white, rgb

Samples = npt.NDArray[Any]
SCALE = {"uint8": 1, "uint16": 257, "uint32": 1 << 24, "int8": 0.5, "int16": 128, "int32": 1 << 23, "float32": 1 / 255}
LAYOUTS: list[dict[str, Any]] = [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}]
CMYK = np.asarray(Image.fromarray(PICTURE).convert("CMYK"))
KINDS: dict[str, tuple[Samples, Samples, dict[str, Any]]] = {
    "rgb": (PICTURE, PICTURE, {"photometric": "rgb"}),
    "rgba": (np.dstack([PICTURE, ALPHA]), over_white(PICTURE, ALPHA), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "rgbx": (np.dstack([PICTURE, ALPHA]), PICTURE, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "grey": (GREY, rgb(GREY), {"photometric": "minisblack"}),
    "white is 0": (GREY, rgb(255 - GREY), {"photometric": "miniswhite"}),
    "grey alpha": (
        np.dstack([GREY, ALPHA]),
        over_white(rgb(GREY), ALPHA),
        {"photometric": "minisblack", "extrasamples": ["unassalpha"]},
    ),
    "cmyk": (CMYK, np.asarray(Image.fromarray(CMYK, "CMYK").convert("RGB")), {"photometric": "separated"}),
}
READ_16_BIT = ("rgb", "rgba", "rgbx", "grey", "cmyk")


def tiff_cases() -> list[Any]:
    cases = []
    for kind, dtype, planes in product(KINDS, SCALE, ("contig", "separate")):
        if KINDS[kind][0].ndim == 3 or planes == "contig":
            cases.append(pytest.param(kind, dtype, planes, id=f"{kind} {dtype} {planes}"))
    return cases


@pytest.mark.parametrize(("kind", "dtype", "planes"), tiff_cases())
def test_a_tiff_of_any_depth_plane_and_polarity_is_read_right_or_refused(kind: str, dtype: str, planes: str) -> None:
    samples, expected, options = KINDS[kind]
    samples = (samples * np.float64(SCALE[dtype])).astype(dtype)
    if samples.ndim == 3:
        options = options | {"planarconfig": planes}
        samples = samples if planes == "contig" else np.ascontiguousarray(samples.transpose(2, 0, 1))
    count = 0
    for compression, order, layout in product((None, "zlib", "lzw", "packbits"), "<>", LAYOUTS):
        data = tiff(samples, compression=compression, byteorder=order, **options, **layout)
        try:
            image = decode(data, LIMITS)
        except UnknownImageType:
            continue
        assert read_size(data, LIMITS) == image.shape[:2]
        assert np.abs(image.astype(int) - expected).max() <= 1, (compression, order, layout)
        count += 1
    if planes == "contig":
        assert (count == 24) == (dtype == "uint8" or (dtype == "uint16" and kind in READ_16_BIT))


@pytest.mark.parametrize("polarity", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_grey_tiff_of_few_bits_spans_black_to_white(bits: int, polarity: str) -> None:
    values = GREY >> (8 - bits)
    grey = np.round(values * (255 / ((1 << bits) - 1))).astype(np.uint8)
    image = decode(tiff(values, bitspersample=bits, photometric=polarity), LIMITS)
    assert np.array_equal(image, rgb(grey if polarity == "minisblack" else 255 - grey))


@pytest.mark.parametrize(
    ("samples", "options", "reason"),
    [
        (GREY.astype(np.uint16) * 16, {"bitspersample": 12, "photometric": "minisblack"}, "samples of 12 bits"),
        (GREY.astype(np.uint16) * 257, {"photometric": "miniswhite"}, "0 is white"),
        (GREY.astype(np.uint32) << 24, {"photometric": "minisblack"}, "samples of 32 bits"),
        (GREY.astype(np.int16), {"photometric": "minisblack"}, "signed samples"),
        (GREY.astype(np.float64), {"photometric": "minisblack"}, "floating-point samples"),
        (GREY.astype(np.complex64), {"photometric": "minisblack"}, "complex samples"),
        (PICTURE.astype(np.uint32), {"photometric": "rgb"}, "samples of 32 bits"),
        (GREY, {"photometric": "mask"}, "photometric interpretation 4"),
        (GREY, {"photometric": "cfa"}, "photometric interpretation 32803"),
        (GREY // 16, {"photometric": "palette", "colormap": PALETTE.T.astype(np.uint16)}, "a palette of 8 bits"),
        (PICTURE, {"photometric": "rgb", "compression": "jpeg2000"}, "compression 34712"),
        (PICTURE, {"photometric": "rgb", "compression": "webp"}, "compression 50001"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_tiff_that_is_not_read_is_named_with_how_to_convert_it(
    samples: Samples, options: dict[str, Any], reason: str
) -> None:
    for function in (decode, read_size):
        with pytest.raises(UnknownImageType, match=f"{reason}.*; save it"):
            function(tiff(samples, **options), LIMITS)


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
@pytest.mark.parametrize("lacking", ["count", "offset", "bytes"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (16, 32)}], ids=["strips", "tiles"])
def test_a_tiff_without_all_of_its_strips_is_damaged(
    compression: str | None, lacking: str, planes: str, layout: dict[str, Any]
) -> None:
    samples = PICTURE if planes == "contig" else np.ascontiguousarray(PICTURE.transpose(2, 0, 1))
    data = tiff(samples, photometric="rgb", planarconfig=planes, compression=compression, **layout)
    assert np.abs(decode(data, LIMITS).astype(int) - PICTURE).mean() < 4
    offsets, counts = (324, 325) if "tile" in layout else (273, 279)
    if lacking == "count":
        data = with_tag(with_tag(data, offsets, tag_values(data, offsets)[:1]), counts, tag_values(data, counts)[:1])
    elif lacking == "offset":
        data = with_tag(data, offsets, [*tag_values(data, offsets)[:-1], 0])
    else:
        data = with_tag(data, counts, [*tag_values(data, counts)[:-1], 20])
    with pytest.raises(DamagedImage):
        decode(data, LIMITS)


@pytest.mark.parametrize(("depth", "bits_beyond"), [(8, 0), (8, 0x100), (16, 0)])
def test_the_transparent_color_of_an_rgb_png_lies_over_white_in_every_depth(depth: int, bits_beyond: int) -> None:
    values = PICTURE.astype(int) * (256 if depth == 16 else 1) + (57 if depth == 16 else 0)
    expected = PICTURE.copy()
    expected[np.all(PICTURE[20, 30] == PICTURE, -1)] = 255
    data = png(values, depth, 2, tRNS=struct.pack(">HHH", *(values[20, 30] | bits_beyond).tolist()))
    assert np.array_equal(decode(data, LIMITS), expected)


def png_chunks_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks (kind, content)."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in (*chunks, (b"IEND", b"")))


def png_head(width: int, height: int, depth: int, color_type: int, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlace)


@pytest.mark.parametrize("black", [False, True], ids=["with a last row", "with a black last row"])
@pytest.mark.parametrize("interlace", [False, True], ids=["row by row", "interlaced"])
@pytest.mark.parametrize(("depth", "color_type"), [(8, 2), (16, 0), (1, 0), (8, 3), (8, 6)])
def test_a_png_whose_stream_ends_early_is_damaged(depth: int, color_type: int, interlace: bool, black: bool) -> None:
    columns = SIZE[1] * {0: 1, 2: 3, 3: 1, 6: 4}[color_type]
    passes = ((6, 9), (6, 8), (6, 17), (12, 17), (11, 34), (23, 33), (22, 67)) if interlace else (SIZE,)
    lines = []
    for rows, width in passes:
        values = np.full((rows, width * columns // SIZE[1]), 1)
        values[-1] = 0 if black else 1
        lines += [packed_rows(values[row : row + 1], depth) for row in range(rows)]

    def of(rows: list[bytes]) -> bytes:
        palette = [(b"PLTE", PALETTE.tobytes())] if color_type == 3 else []
        stream = (b"IDAT", zlib.compress(b"".join(rows)))
        return png_chunks_of(png_head(*SIZE[::-1], depth, color_type, int(interlace)), *palette, stream)

    assert decode(of(lines), LIMITS).shape == (*SIZE, 3)
    for missing in (1, len(lines) // 2, len(lines) - 1):
        with pytest.raises(DamagedImage, match=r"its rows take [\d,]+ bytes, and its stream ends after"):
            decode(of(lines[:-missing]), LIMITS)


@pytest.mark.parametrize("position", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("level", [0, 1, 6])
def test_a_png_whose_pixels_do_not_fit_their_checksum_is_damaged(level: int, position: float) -> None:
    """Where the stream's own checksum stands in a chunk of its own, Pillow has all rows before it comes there."""
    picture = corners((450, 670))
    stream = zlib.compress(packed_rows(picture.reshape(450, -1), 8), level)
    pieces = [stream[start : min(start + 8192, len(stream) - 4)] for start in range(0, len(stream) - 4, 8192)]
    chunks = [(b"IDAT", piece) for piece in (*pieces, stream[-4:])]
    data = bytearray(png_chunks_of(png_head(670, 450, 8, 2), *chunks))
    assert np.array_equal(decode(bytes(data), LIMITS), picture)
    data[int((len(data) - 40) * position)] ^= 0x55
    with pytest.raises(DamagedImage):
        decode(bytes(data), LIMITS)


@pytest.mark.parametrize("working", [None, (90, 134)], ids=["whole", "enlarged"])
@pytest.mark.parametrize("transparent", [None, 3])
def test_around_a_smaller_first_frame_of_a_gif_is_white(transparent: int | None, working: tuple[int, int] | None) -> None:
    ids = GREY[:20, :30] // 32
    expected = np.full((*SIZE, 3), 255, np.uint8)
    colors = PALETTE[ids]
    colors[ids == transparent] = 255
    expected[7:27, 5:35] = colors
    image = decode(gif(ids, SIZE, (5, 7), transparent), LIMITS, working)
    if working:
        large_picture = Image.fromarray(expected).resize(working[::-1], Image.Resampling.BILINEAR)
        assert np.array_equal(image, np.asarray(large_picture))
    else:
        assert np.array_equal(image, expected)


def test_a_jpeg_cut_between_its_restart_markers_is_damaged() -> None:
    photo = Image.fromarray(corners((450, 670)))
    for options in ({"restart_marker_rows": 1}, {"restart_marker_blocks": 3, "subsampling": 0}):
        data = file_of(photo, "JPEG", quality=90, **options)
        assert decode(data, LIMITS).shape == (450, 670, 3)
        with pytest.raises(DamagedImage, match=r"\d+ of \d+ restart markers are there"):
            read_size(data[: len(data) // 2] + b"\xff\xd9", LIMITS)
    grey = file_of(photo.convert("L"), "JPEG", restart_marker_blocks=5)
    assert decode(grey + b"\xff\xd9 and more", LIMITS).shape == (450, 670, 3)


@pytest.mark.parametrize("grid", [(97, 131), (96, 128), (41, 250)], ids=str)
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_jpeg_keeps_its_geometry_at_every_size(grid: tuple[int, int], orientation: int, factor: int) -> None:
    """The centres of two spots, near opposite corners, within a tenth of a pixel of the photo."""
    for more in range(0, 8, 3):
        height, width = grid[0] * 8 + more, grid[1] * 8 + more
        centres = [(60.0, 70.0), (height - 61.0, width - 71.0)]
        rows, columns = np.ogrid[0:height, 0:width]
        spots = sum(np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 288) for y, x in centres)
        photo = Image.fromarray(np.round(250 * spots).astype(np.uint8))
        data = file_of(photo, "JPEG", quality=100, exif=exif_of(orientation))
        working = -(-height // factor), -(-width // factor)
        small = decode(data, LIMITS, working if orientation == 1 else working[::-1])[..., 0].astype(float)
        small_as_stored = small if orientation == 1 else np.rot90(small)
        for y, x in centres:
            down, across = _centre(
                small_as_stored, (y + 0.5) * working[0] / height - 0.5, (x + 0.5) * working[1] / width - 0.5, 48 / factor
            )
            assert abs((down + 0.5) * height / working[0] - 0.5 - y) < 0.1
            assert abs((across + 0.5) * width / working[1] - 0.5 - x) < 0.1


def _centre(image: npt.NDArray[np.float64], y: float, x: float, radius: float) -> tuple[float, float]:
    """The centre of mass of what is bright around (y, x), in pixels."""
    rows, columns = np.ogrid[0 : image.shape[0], 0 : image.shape[1]]
    weights = np.where((abs(rows - y) <= radius) & (abs(columns - x) <= radius), image, 0)
    weights[weights < 3] = 0
    return float((weights * rows).sum() / weights.sum()), float((weights * columns).sum() / weights.sum())


def test_a_16_bit_png_of_every_color_type_is_scaled() -> None:
    wide = np.dstack([PICTURE, ALPHA]).astype(int) * 257
    for color_type, samples, expected in (
        (2, wide[..., :3], PICTURE),
        (6, wide, over_white(PICTURE, ALPHA)),
        (4, wide[..., [1, 3]], over_white(rgb(GREY), ALPHA)),
        (0, wide[..., 1], rgb(GREY)),
    ):
        data = png(samples, 16, color_type)
        assert np.abs(decode(data, LIMITS).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("data", "name", "advice"),
    [
        (b"%PDF-1.7\n", "PDF", "pdftoppm "),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG", "rsvg-convert "),
        (b"PK\3\4 and more", "an archive", "unpack it"),
        (b"\0\0\2" + bytes(9) + b"\x40\0\x30\0\x18\0", "TGA", "photo.tga"),
        (b"\0\1\1\0\0\0\1\x18" + bytes(4) + b"\x40\0\x30\0\x08\0", "TGA", "photo.tga"),
        (b"\0\0\2\0\1\0\x20\x20", "an icon", "icon.ico"),
        (b"https://images.example/cat.jpg", "a URL", r"not fetched.*curl URL \| curl --data-binary @-"),
        (b'{"url": "https://images.example/cat.jpg"}', "JSON", "send the image itself, or {.inputs.: BASE64}"),
        (b"file=%40photo.jpg", "a form's field as text", "curl -F file=@photo.jpg"),
        (b'--x1y\r\nContent-Disposition: form-data; name="file"\r\n\r\n', "a form without its header", "boundary="),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS", "git lfs pull"),
        (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", "XML", "error message"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC>\n<html/>", "an HTML page", "send the image"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera's raw file", "darktable-cli"),
        (png_chunks_of((b"CgBI", b"\x50\0\x20\x02")), r"a PNG in Apple's form \(CgBI\)", "pngcrush -revert-iphone-optim"),
        (b"\x89PNG\x1a\0\0\0", "a PNG with changed line breaks", "--data-binary @photo.jpg"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF".decode("utf-8", "replace").encode(), "an image that was read as text", "'rb'"),
        ('{"inputs": ""}'.encode("utf-16"), "text in UTF-16", "send the image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_read_is_named_with_what_to_do(data: bytes, name: str, advice: str) -> None:
    with pytest.raises(UnknownImageType, match=f"this file is {name}; accepted are PNG, JPEG.*; .*{advice}"):
        read_size(data, LIMITS)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_base64_of_an_image_is_named(format: str) -> None:
    text = base64.b64encode(file_of(Image.fromarray(PICTURE), format))
    for data in (text, b"\n" + text):
        with pytest.raises(UnknownImageType, match=r"this file is base64; .*decode it and send the bytes"):
            decode(data, LIMITS)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("bytes_removed", [b"\r\n", b"\r\n\0"], ids=["line breaks", "NUL as well"])
def test_a_file_whose_line_breaks_curl_removed_is_told_how_to_send_it(format: str, bytes_removed: bytes) -> None:
    data = file_of(Image.fromarray(NOISE), format).translate(None, bytes_removed)
    with pytest.raises((DamagedImage, UnknownImageType), match="--data-binary"):
        decode(data, LIMITS)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_of_a_transparent_grey_the_bits_beyond_the_depth_do_not_count(depth: int) -> None:
    most = (1 << depth) - 1
    values = GREY.astype(int) * most // 255
    for transparent in {0, most, int(values[20, 30])}:
        expected = rgb(np.round(values * (255 / most)).astype(np.uint8))
        expected[values == transparent] = 255
        data = png(values, depth, 0, tRNS=struct.pack(">H", transparent | 0xFF00 & -1 << depth))
        assert np.array_equal(decode(data, LIMITS), expected)


@pytest.mark.parametrize("depth", [4, 8])
def test_a_png_with_pixels_beyond_its_palette_is_damaged(depth: int) -> None:
    ids = GREY // 32
    for colors in (8, 7, 3):
        data = png(ids, depth, 3, PLTE=PALETTE[:colors].tobytes())
        if colors > ids.max():
            assert np.array_equal(decode(data, LIMITS), PALETTE[ids])
        else:
            with pytest.raises(DamagedImage, match=rf"palette has {colors} .* {ids.max()}"):
                decode(data, LIMITS)


def bmp(bits: int, compression: int = 0, masks: bytes = b"", rows: bytes = b"") -> bytes:
    size = 14 + 40 + len(masks)
    info = struct.pack("<IiiHHIIiiII", 40, 67, 45, 1, bits, compression, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", size + len(rows), 0, 0, size) + info + masks + rows


@pytest.mark.parametrize("red", [0xFF0000, 0xFF000000, 0xF00], ids=hex)
def test_the_masks_of_a_bmp_are_read_or_refused_as_unread(red: int) -> None:
    """Red, green and blue from the upper bits down, in 32 bits, above one that is unused, and in 4 bits."""
    bits = red.bit_count()
    values = PICTURE.astype(np.uint32) >> (8 - bits)
    shift = red.bit_length() - bits
    words = values[..., 0] << shift | values[..., 1] << (shift - bits) | values[..., 2] << (shift - 2 * bits)
    masks = struct.pack("<III", red, red >> bits, red >> 2 * bits)
    data = bmp(32, 3, masks, words[::-1].astype("<u4").tobytes())
    if bits == 8:
        assert np.array_equal(decode(data, LIMITS), PICTURE)
    else:
        with pytest.raises(UnknownImageType, match=r"is of a kind that is not read \(Unsupported BMP.*; save it"):
            decode(data, LIMITS)
