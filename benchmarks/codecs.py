"""What the choices of the image files' codecs give: how masks are compressed, and how far photographs are decoded."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image

from benchmarks.images import ONE_MEGAPIXEL, PHOTOS, photo, segmenter
from benchmarks.results import Ratio, Row, Section
from benchmarks.timing import milliseconds
from imaging.decoding import Limits, decode, read_size
from imaging.encoding import Palette, Pixels, grey_png, mask_png
from model.predictor import Predictor
from model.segmentation import Options, plan_image, run_in_batches, segment
from model.tiling import TilePlan

LARGE = (6000, 4000)
SERVED = "runs (served)"
LEVELS = (1, 6, 9)
TEXT = """\
Masks of the photographs in `docs/`, enlarged to one megapixel (1152x864), as PNG with zlib looking for runs alone, or at its
levels (6 is Pillow's own choice); palette files have no filter, so the last is the same class map as grey, where PNG's
filters are chosen row by row. Then JPEGs of 24 megapixels, decoded as the default side needs them and in full, and the share
of pixels with the same class. One core, medians over photographs and turns."""


def run(*, quick: bool) -> Section:
    times = 2 if quick else 9
    predictor = segmenter().predictor
    encoded, sizes = encodings(predictor, times)
    size = (3000, 2000) if quick else LARGE
    large = [photo(name, size) for name in PHOTOS]
    reduced, full = decodings(large, planned(predictor, large[0]).size, times)
    rows = [Row.of(f"mask as PNG, {name}", values, "ms") for name, values in encoded.items()]
    rows += [Row.of(f"bytes of it, {name}", values, "kB") for name, values in sizes.items()]
    rows += [Row.of("decoding, reduced (served)", reduced, "ms"), Row.of("decoding, in full", full, "ms")]
    typical = f"zlib level {LEVELS[1]}"
    ratios = [
        Ratio.of(f"time, {typical} / runs", encoded[typical], encoded[SERVED]),
        Ratio.of(f"bytes, runs / {typical}", sizes[SERVED], sizes[typical]),
        Ratio.of("time, decoding in full / reduced", full, reduced),
        Ratio("pixels with the same class, reduced and in full", agreement(predictor, large)),
    ]
    return Section("Files", TEXT, rows, ratios)


def encodings(predictor: Predictor, times: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds and kilobytes of each way to write a mask."""
    palette = predictor.manifest.labels.palette
    ways: dict[str, Callable[[Pixels], bytes]] = {SERVED: lambda class_map: mask_png(class_map, palette)}
    ways |= {f"zlib level {level}": partial(levelled, palette=palette, level=level) for level in LEVELS}
    ways["runs, filtered, as grey"] = grey_png
    taken: dict[str, list[float]] = {name: [] for name in ways}
    sizes: dict[str, list[float]] = {name: [] for name in ways}
    for class_map in (masked(predictor, photo(name, ONE_MEGAPIXEL)) for name in PHOTOS):
        for name, way in ways.items():
            taken[name] += milliseconds(partial(way, class_map), times)
            sizes[name].append(len(way(class_map)) / 1000)
    return taken, sizes


def levelled(class_map: Pixels, palette: Palette, level: int) -> bytes:
    image, buffer = Image.fromarray(class_map), io.BytesIO()
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    image.save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def decodings(files: Sequence[bytes], size: tuple[int, int], times: int) -> tuple[list[float], list[float]]:
    """Milliseconds reduced, for work at this (height, width), and in full."""
    found: tuple[list[float], list[float]] = ([], [])
    for data in files:
        for values, needed in zip(found, (size, None), strict=True):
            values += milliseconds(partial(decode, data, Limits(), needed), times)
    return found


def planned(predictor: Predictor, data: bytes) -> TilePlan:
    return plan_image(read_size(data, Limits()), Options(), predictor.manifest.preprocessing.side)


def agreement(predictor: Predictor, files: Sequence[bytes]) -> float:
    """The share of pixels with the same class whether the file is decoded reduced or in full."""
    return float(np.mean([masked(predictor, data) == masked(predictor, data, reduced=True) for data in files]))


def masked(predictor: Predictor, data: bytes, *, reduced: bool = False) -> Pixels:
    """The class map at the photograph's size."""
    plan, limits, classes = planned(predictor, data), Limits(), len(predictor.manifest.labels)
    image = decode(data, limits, plan.size if reduced else None)
    size, run = read_size(data, limits), run_in_batches(predictor)
    return segment(image, plan, run, num_classes=classes, grid=predictor.grid, size=size).class_map
