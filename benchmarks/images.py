"""Images to measure with: the repository's photographs at many sizes, as JPEG, and the answers that are right."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from benchmarks.load import Sample
from benchmarks.serving import ROOT
from cli.arguments import parser
from cli.local import Segmenter, load_segmenter

PHOTOS = ("chelsea", "astronaut", "coffee")
ONE_MEGAPIXEL = (1152, 864)
MIX = ((320, 240), (500, 375), (640, 480), (375, 500), (1024, 768), (1152, 864), (1600, 1200))
GRAIN = 6.0  # standard deviation of the noise that makes an enlarged photograph as hard to decode as a real one


def photo(name: str, size: tuple[int, int], format: str = "JPEG") -> bytes:
    """The photograph at this (width, height), with grain, in a file of this format."""
    with Image.open(ROOT / "docs" / "photos" / f"{name}.jpg") as image:
        pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    noise = np.random.default_rng(size[0]).normal(0, GRAIN, (size[1], size[0], 1)).astype(np.float32)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(buffer, format, quality=90)
    return buffer.getvalue()


def photos(sizes: Sequence[tuple[int, int]]) -> list[bytes]:
    """Every photograph at every size."""
    return [photo(name, size) for size in sizes for name in PHOTOS]


def segmenter(*arguments: str) -> Segmenter:
    """The command line's segmenter of the default weights, warm."""
    args = parser().parse_args(["-", "-o", "-", *arguments])
    segmenter = load_segmenter(args)
    segmenter.predictor.warm_up(args.tile)
    return segmenter


def samples(segment: Segmenter, images: Sequence[bytes]) -> list[Sample]:
    """The images, with the answers of the command line."""
    return [Sample(data, segment(data)) for data in images]
