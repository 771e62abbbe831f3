"""The time of a request in each format, and the size of its answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import httpx

from benchmarks.harness.images import PHOTOS, photo
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import service

SIZES = {"1 megapixel": (1152, 864), "12 megapixels": (4000, 3000)}
FORMS = (
    "png", "grey", "binary", "color", "color&image_format=webp", "overlay", "overlay&image_format=jpeg",
    "overlay&image_format=webp", "cutout", "cutout&image_format=webp", "confidence", "json", "json&confidence=true",
    "json&mask=polygons", "coco", "coco&mask=polygons", "npz", "color&width=800", "overlay&width=800", "cutout&width=800",
)  # fmt: skip
# of the time of a mask
AIMS = {"json": 1.5, "confidence": 1.5, "overlay": 3, "cutout": 7} | dict.fromkeys(FORMS[-3:], 2)
TEXT = """\
A single client sends JPEGs of {sizes} at the default side and asks for every format in turn. Times run from the request to the
answer's last byte. JSON is not compressed. Sizes are those of the first photo's answers."""


def run(*, quick: bool) -> Section:
    seconds: dict[tuple[str, str], list[float]] = {}
    kilobytes: dict[str, float] = {}
    sizes = {"1 megapixel": SIZES["1 megapixel"]} if quick else SIZES
    compared_size = list(sizes)[-1]  # the largest
    with service() as server, httpx.Client(base_url=server.url, timeout=300, headers={"Accept-Encoding": "identity"}) as client:
        for size in sizes:
            images = [photo(name, sizes[size]) for name in (PHOTOS[:1] if quick else PHOTOS)]
            for turn in range(2 if quick else 4):
                for image in images:
                    for form, duration, length in _turn(client, image):
                        if turn:  # the first turn warms up
                            seconds.setdefault((size, form), []).append(duration)
                        if image is images[0] and size == compared_size:
                            kilobytes[form] = length / 1e3
    rows = [Row.of(f"{size}, {form}", [1000 * value for value in values], "ms") for (size, form), values in seconds.items()]
    rows += [Row.of(f"{compared_size}, size of {form}", [value], "kB") for form, value in kilobytes.items()]
    medians = {form: statistics.median(seconds[compared_size, form]) for form in FORMS}
    ratios = [Ratio(f"{compared_size}, {form} / png", medians[form] / medians["png"], at_most=AIMS[form]) for form in AIMS]
    return Section("Formats", TEXT.format(sizes=", ".join(sizes)), rows, [] if quick else ratios)


def _turn(client: httpx.Client, image: bytes) -> Iterator[tuple[str, float, int]]:
    """Asks for each format once; yields the format, seconds, and the number of bytes of the answer."""
    for form in FORMS:
        start = time.perf_counter()
        answer = client.post(f"/segment?format={form}", content=image).raise_for_status()
        yield form, time.perf_counter() - start, len(answer.content)
