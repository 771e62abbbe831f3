"""What `decoding_bytes` promises from a header alone bounds what decoding takes, in a process of its own each."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from imaging import decoding
from imaging.decoding import decode, decoding_bytes
from imaging.errors import ImageTooLarge
from tests.conftest import make_photo
from tests.imaging.apart import decode_apart
from tests.imaging.files import LIMITS, SAMPLES
from tests.imaging.samples import Sample, bomb, file_of

HEIGHT, WIDTH = 3000, 4000
PIXELS = HEIGHT * WIDTH


def photo(mode: str = "RGB", height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    image = Image.fromarray(make_photo(height // 10, width // 10)).resize((width, height))
    if mode in ("RGBA", "LA"):
        image.putalpha(image.getchannel("G"))
    return image.convert(mode)


def wide_grey(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    return Image.fromarray(np.asarray(photo("L", height, width)).astype(np.uint16) * 257)


def files(height: int, width: int) -> dict[str, Callable[[], bytes]]:
    """A photograph of this size in every format and mode."""

    def of(mode: str = "RGB") -> Image.Image:
        return photo(mode, height, width)

    return {
        "jpeg": lambda: file_of(of(), "JPEG"),
        "progressive jpeg": lambda: file_of(of(), "JPEG", progressive=True, subsampling=0),
        "cmyk jpeg": lambda: file_of(of("CMYK"), "JPEG"),
        "grey jpeg": lambda: file_of(of("L"), "JPEG"),
        "rgb png": lambda: file_of(of(), "PNG", compress_level=1),
        "rgba png": lambda: file_of(of("RGBA"), "PNG", compress_level=1),
        "la png": lambda: file_of(of("LA"), "PNG", compress_level=1),
        "palette png": lambda: file_of(of("P"), "PNG", compress_level=1),
        "transparent palette png": lambda: file_of(of("P"), "PNG", transparency=3, compress_level=1),
        "16-bit grey png": lambda: file_of(wide_grey(height, width), "PNG", compress_level=1),
        "gif": lambda: file_of(of("P"), "GIF"),
        "disposing gif": lambda: file_of(of("P"), "GIF", transparency=3, disposal=2, save_all=True, append_images=[of("P")]),
        "bmp": lambda: file_of(of(), "BMP"),
        "tiff": lambda: file_of(of(), "TIFF"),
        "tiff of one strip": lambda: file_of(of("RGBA"), "TIFF", compression="tiff_deflate", strip_size=1 << 30),
        "turned tiff": lambda: file_of(of(), "TIFF", compression="tiff_lzw", tiffinfo={274: 6}),
        "jpeg tiff": lambda: file_of(of(), "TIFF", compression="jpeg"),
        "webp": lambda: file_of(of(), "WEBP", method=0),
        "transparent webp": lambda: file_of(of("RGBA"), "WEBP", method=0),
        "lossless webp": lambda: file_of(of("RGBA"), "WEBP", lossless=True, method=0, quality=0),
    }


FAST = ("jpeg", "progressive jpeg", "transparent palette png")
FILES = files(HEIGHT, WIDTH)


linux = pytest.mark.skipif(sys.platform != "linux", reason="a process's peak of memory is read from /proc")


@linux
@pytest.mark.parametrize("working", [(), (HEIGHT // 4, WIDTH // 4), (4000, 5000)], ids=["whole", "reduced", "enlarged"])
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind not in FAST)) for kind in FILES])
def test_decoding_stays_within_what_its_header_promises(kind: str, working: tuple[int, ...]) -> None:
    outcome = decode_apart(FILES[kind](), *working)
    whole = (WIDTH, HEIGHT) if kind == "turned tiff" else (HEIGHT, WIDTH)
    assert outcome.result == "{}x{}x3".format(*(working or whole))
    assert outcome.taken < outcome.promised < outcome.taken + decoding.FIXED_BYTES + 12 * PIXELS


def test_a_large_jpeg_takes_eight_bytes_a_pixel_or_less_and_one_that_is_reduced_a_fraction() -> None:
    frame = file_of(Image.new("RGB", (16, 16)), "JPEG")
    start = frame.index(b"\xff\xc0") + 5
    data = frame[:start] + (10_000).to_bytes(2) * 2 + frame[start + 4 :]
    assert decoding_bytes(data, LIMITS) - decoding.FIXED_BYTES <= 8 * 10_000**2
    assert decoding_bytes(data, LIMITS, (960, 960)) - decoding.FIXED_BYTES < 10_000**2


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_the_promise_needs_the_header_alone(sample: Sample) -> None:
    promised = decoding_bytes(sample.data, LIMITS)
    assert decoding.FIXED_BYTES < promised < decoding.FIXED_BYTES + 100_000


def test_what_is_too_large_is_promised_nothing() -> None:
    with pytest.raises(ImageTooLarge):
        decoding_bytes(bomb(20000), LIMITS)


@pytest.mark.parametrize("working", [None, (11, 19)], ids=["whole", "reduced"])
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_bands_change_no_byte(monkeypatch: pytest.MonkeyPatch, sample: Sample, working: tuple[int, int] | None) -> None:
    whole = decode(sample.data, LIMITS, working)
    monkeypatch.setattr(decoding, "BAND_PIXELS", 100)
    assert np.array_equal(decode(sample.data, LIMITS, working), whole)
