"""Images for the benches: the repository's photographs as JPEGs of any size, and their expected answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from benchmarks.harness.image_files import file_of
from benchmarks.harness.load import Sample
from benchmarks.harness.serving import ROOT
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.scaling import Side
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files

PHOTOS = ("chelsea", "astronaut", "coffee")
SMALL = (500, 375)
ONE_MEGAPIXEL = (1152, 864)
GRAIN = 6.0  # standard deviation of the noise; without it an enlarged photograph decodes faster than a real one


def photo(name: str, size: tuple[int, int]) -> bytes:
    """The photograph scaled to this (width, height), with noise, as JPEG."""
    with Image.open(ROOT / "docs" / "photos" / f"{name}.jpg") as image:
        pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    noise = np.random.default_rng(size[0]).standard_normal((size[1], size[0], 1), np.float32)
    noise *= GRAIN
    return file_of(Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)), "JPEG", quality=90)


def photos(sizes: Sequence[tuple[int, int]]) -> list[bytes]:
    """Every photograph in `PHOTOS` at every (width, height)."""
    return [photo(name, size) for size in sizes for name in PHOTOS]


def command_line(side: Side = "auto", device: str = "auto") -> Callable[[bytes], bytes]:
    """A function from an image file's bytes to the mask's bytes that `fcn-segment` writes at this side, on this device."""
    segmenter, options = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), device=device)), Options(side=side)
    return lambda data: segmenter.segment(data, segmenter.plan(data, options)).body


def samples(segment: Callable[[bytes], bytes], images: Sequence[bytes]) -> list[Sample]:
    """The images, each with the answer of `segment`."""
    return [Sample(data, segment(data)) for data in images]
