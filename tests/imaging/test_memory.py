"""What `decoding_bytes` promises from a header alone bounds what decoding takes, in a process of its own each."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.image_files import file_of
from imaging import conversion, decoding_memory
from imaging.decoding import OpenImage, decode
from tests.support.imaging.corpus import LIMITS, SAMPLES
from tests.support.imaging.peaks import printed
from tests.support.imaging.photographs import FILES, HEIGHT, PIXELS, WIDTH
from tests.support.imaging.samples import Sample

PROGRAM = """
import sys
from imaging.decoding import Limits, OpenImage

data, working = sys.stdin.buffer.read(), tuple(int(word) for word in sys.argv[1:]) or None
before, image = resident("VmRSS"), OpenImage(data, Limits())
promised = image.decoding_bytes(working)
print(*image.decode(working).pixels.shape, promised, resident("VmHWM") - before)
"""
SIZES = {"whole": (), "reduced": (HEIGHT // 4, WIDTH // 4), "enlarged": (4000, 5000)}
FAST = {("jpeg", "reduced"), ("jpeg", "enlarged"), ("transparent palette png", "whole")}
linux = pytest.mark.skipif(sys.platform != "linux", reason="a process's peak of memory is read from /proc")


@linux
@pytest.mark.parametrize(
    ("kind", "size"),
    [pytest.param(*pair, marks=[pytest.mark.long] * (pair not in FAST)) for pair in itertools.product(FILES, SIZES)],
)
def test_decoding_stays_within_what_its_header_promises(kind: str, size: str) -> None:
    working = SIZES[size]
    *shape, promised_bytes, peak_bytes = map(int, printed(PROGRAM, *map(str, working), data=FILES[kind]()).split())
    whole = (WIDTH, HEIGHT) if kind == "turned tiff" else (HEIGHT, WIDTH)
    assert tuple(shape) == (*(working or whole), 3)
    assert peak_bytes < promised_bytes < peak_bytes + decoding_memory.FIXED_BYTES + 12 * PIXELS


def test_a_large_jpeg_takes_eight_bytes_a_pixel_or_less_and_one_that_is_reduced_a_fraction() -> None:
    frame = file_of(Image.new("RGB", (16, 16)), "JPEG")
    start = frame.index(b"\xff\xc0") + 5
    data = frame[:start] + (10_000).to_bytes(2) * 2 + frame[start + 4 :]
    assert OpenImage(data, LIMITS).decoding_bytes() - decoding_memory.FIXED_BYTES <= 8 * 10_000**2
    assert OpenImage(data, LIMITS).decoding_bytes((960, 960)) - decoding_memory.FIXED_BYTES < 10_000**2


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_the_promise_needs_the_header_alone(sample: Sample) -> None:
    promised_bytes = OpenImage(sample.data, LIMITS).decoding_bytes()
    assert decoding_memory.FIXED_BYTES < promised_bytes < decoding_memory.FIXED_BYTES + 100_000


@pytest.mark.parametrize("working", [None, (11, 19)], ids=["whole", "reduced"])
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_bands_change_no_byte(monkeypatch: pytest.MonkeyPatch, sample: Sample, working: tuple[int, int] | None) -> None:
    whole = decode(sample.data, LIMITS, working)
    monkeypatch.setattr(conversion, "BAND_PIXELS", 100)
    assert np.array_equal(decode(sample.data, LIMITS, working), whole)
