"""Files made to cost much: many are refused for little, by their bytes; those that only look like them are not.

What the others cost, a worker's limits bound: `tests/model/inference/processes/test_limits.py`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.hostile import (
    QUIRK,
    bmp_of,
    gif_of,
    hostile,
    jpeg_with,
    png_with,
    scan_bomb,
    tiff_of,
    tiff_tile,
    webp_of,
)
from benchmarks.harness.image_files import chunk, file_of, png_of
from imaging.decoding import Limits, OpenImage, decode, read_size
from imaging.errors import DamagedImage, ImageError, ImageTooLarge
from tests.support.costs import compares_times, cpu_seconds
from tests.support.images import make_photo
from tests.support.imaging.corpus import LIMITS, good_cpu_seconds, good_photo
from tests.support.imaging.peaks import printed

TOO_LARGE = ("png bomb", "gif of a huge screen", "bmp of a huge side", "tiff of many fax rows", "webp bomb")
REFUSED_IMAGES = (
    *TOO_LARGE,
    "bmp that lies",
    "tiff that names a huge tile twice",
    "avif of a huge side",
    *(f"truncated {format}" for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")),
)
PROGRAM = """
import sys
from pathlib import Path
from imaging.decoding import Limits, decode
from imaging.errors import ImageError

good = Path(sys.argv[1], "good photo")
decode(good.read_bytes(), Limits())  # what libraries take once
for path in [good, *sorted(Path(sys.argv[1]).iterdir())]:
    data = path.read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    try:
        decode(data, Limits())
        outcome = "decoded"
    except ImageError:
        outcome = "refused"
    print(path.name, outcome, resident("VmHWM") - before, sep=":")
"""


def refuse(data: bytes) -> None:
    with suppress(ImageError):
        decode(data, LIMITS)


@compares_times
@pytest.mark.parametrize("kind", REFUSED_IMAGES)
def test_a_hostile_file_is_refused_in_less_time_than_a_good_photo_takes(kind: str) -> None:
    """Most of them by their header alone."""
    data = hostile(kind)
    for function in (decode,) if kind.startswith(("truncated", "bmp that", "tiff that")) else (decode, read_size):
        with pytest.raises(ImageTooLarge if kind in TOO_LARGE else DamagedImage):
            function(data, LIMITS)
    assert cpu_seconds(lambda: refuse(data)) < good_cpu_seconds()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="a process's peak of memory is read from /proc")
def test_refusing_a_hostile_file_takes_less_memory_than_a_good_photo(tmp_path: Path) -> None:
    for kind in REFUSED_IMAGES:
        (tmp_path / kind).write_bytes(hostile(kind))
    (tmp_path / "good photo").write_bytes(good_photo())
    lines = [line.split(":") for line in printed(PROGRAM, str(tmp_path)).splitlines()]
    peaks = {kind: int(peak) for kind, outcome, peak in lines if outcome == "refused"}
    good = min(int(peak) for _, outcome, peak in lines if outcome == "decoded")
    assert peaks.keys() == set(REFUSED_IMAGES)
    assert {kind: peak / good for kind, peak in peaks.items() if peak >= good} == {}


@pytest.mark.parametrize("format", ["JPEG", "MPO"])
def test_scans_are_bounded_by_number_and_by_pixels(format: str) -> None:
    assert decode(scan_bomb(100, 64, format), LIMITS).shape == (64, 64, 3)
    with pytest.raises(DamagedImage, match=r"101 scans .*64x64.* 100 "):
        read_size(scan_bomb(101, 64, format), LIMITS)
    with pytest.raises(DamagedImage, match=r"more than 10000 segments; .* jpegtran -copy none"):
        read_size(scan_bomb(3, 64, format).replace(b"\xff\xda", b"\xff\xfe\0\2" * 5_000 + b"\xff\xda"), LIMITS)
    data = scan_bomb(21, 64, format)
    start = data.index(b"\xff\xc2") + 5
    with pytest.raises(DamagedImage, match=r"21 scans .*10000x10000.* 20"):
        read_size(data[:start] + (10_000).to_bytes(2) * 2 + data[start + 4 :], LIMITS)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_what_looks_like_scans_in_segments_and_behind_the_image_is_none(options: dict[str, bool]) -> None:
    photo = Image.fromarray(make_photo(64, 96))
    data = file_of(photo, "JPEG", **options)
    comment = b"\xff\xfe" + (2 + 600).to_bytes(2, "big") + b"\xff\xda" * 300
    assert np.array_equal(decode(data[:2] + comment + data[2:] + b"\xff\xda" * 300, LIMITS), decode(data, LIMITS))


@pytest.mark.parametrize(("tile", "side"), [(256, 16), (1024, 100), (4096, 16)])
def test_a_tile_may_be_larger_than_a_small_image(tile: int, side: int) -> None:
    data = tiff_tile(tile, side)
    assert decode(data, LIMITS).shape == (side, side, 3)
    assert OpenImage(data, LIMITS).decoding_bytes() > tile * tile


def test_a_directory_that_points_to_itself_ends() -> None:
    with pytest.raises(ImageError):
        decode(tiff_of({256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 34665: 8}), LIMITS)


@compares_times
@pytest.mark.parametrize(
    "kind",
    ["inflating text", "inflating wide text", "one huge text", "a huge profile", "a thousand profiles"],
)
def test_texts_and_profiles_of_a_png_are_not_inflated(kind: str) -> None:
    data = hostile(f"png of {kind}")
    assert decode(data, LIMITS).shape == (1, 1, 3)
    assert cpu_seconds(lambda: refuse(data)) < good_cpu_seconds()


def test_run_lengths_of_a_bmp_are_read_up_to_four_megapixels() -> None:
    rows = b"\xff\7\1\7\0\0" * 16
    assert (decode(bmp_of(256, 16, 8, 1, rows + b"\0\1"), LIMITS) == (0, 0, 7)).all()
    with pytest.raises(ImageTooLarge, match=r"2001x2000 pixels .* 4 megapixels .*; save it without run lengths"):
        decode(bmp_of(2001, 2000, 8, 1, rows), LIMITS)


@pytest.mark.parametrize("before", [b"", QUIRK, b"xx!\xfe\0", b"!\xff\3abc\0"], ids=["plain", "quirk", "junk", "other"])
def test_the_frame_of_a_gif_counts_as_pillow_reads_it(before: bytes) -> None:
    assert read_size(gif_of(3, 5, before), LIMITS) == (5, 5)
    with pytest.raises(ImageTooLarge, match=r"5x5 pixels"):
        read_size(gif_of(3, 5, before), Limits(megapixels=24e-6))


@pytest.mark.parametrize("size", [(100_001, 1), (1, 100_001), (1, 99_000_000)])
def test_a_side_is_bounded_however_few_the_pixels(size: tuple[int, int]) -> None:
    for data in (png_of(*size, 8, 0, b""), tiff_of({256: size[0], 257: size[1], 258: 8, 259: 1, 262: 1, 273: 8})):
        with pytest.raises(ImageTooLarge, match=rf"{size[0]}x{size[1]} pixels.* 100,000"):
            read_size(data, LIMITS)
    with pytest.raises(ImageTooLarge, match="a side"):
        read_size(bmp_of(*size, 24, 0), LIMITS)
    assert read_size(png_of(100_000, 1, 8, 0, b""), LIMITS) == (1, 100_000)


def test_the_canvas_of_a_webp_is_read_before_it_is_made() -> None:
    photo = Image.fromarray(make_photo(20, 30))
    for data in (file_of(photo, "WEBP"), file_of(photo, "WEBP", lossless=True), file_of(photo, "WEBP", exif=b"Exif\0\0MM\0*")):
        with pytest.raises(ImageTooLarge, match="30x20 pixels"):
            read_size(data, Limits(megapixels=0.0005))
    with pytest.raises(ImageTooLarge, match="16383x16383"):
        read_size(webp_of(16383), LIMITS)


def test_long_headers_are_taken_within_their_bounds() -> None:
    assert decode(jpeg_with(b"\xff\xfe\xff\xff".ljust(65537, b"c") * 100), LIMITS).shape == (16, 16, 3)
    assert decode(png_with(chunk(b"tEXt", b"k\0" + b"t" * 6_000_000)), LIMITS).shape == (1, 1, 3)
    assert decode(png_with(chunk(b"aaAa", b"") * 5000), LIMITS).shape == (1, 1, 3)
    assert read_size(gif_of(4, 4, before=b"!\xfe" + b"\2ab" * 10_000 + b"\0"), LIMITS) == (4, 4)
