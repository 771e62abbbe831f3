"""The time of a request in each format, compared with format=png and with a former commit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx

from benchmarks.harness.images import PHOTOS, photo
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import checkout_commit, image_variables, service

SIZES = {"1 megapixel": (1152, 864), "12 megapixels": (4000, 3000), "48 megapixels": (8000, 6000)}
COMPARED_SIZE = "12 megapixels"
QUERIES = {
    "png": "format=png",
    "grey": "format=grey",
    "binary": "format=binary",
    "color": "format=color",
    "color, WebP": "format=color&image_format=webp",
    "overlay": "format=overlay",
    "overlay, JPEG": "format=overlay&image_format=jpeg",
    "overlay, WebP": "format=overlay&image_format=webp",
    "cutout": "format=cutout",
    "cutout, WebP": "format=cutout&image_format=webp",
    "confidence": "format=confidence",
    "json": "format=json",
    "json with confidence": "format=json&confidence=true",
    "json with polygons": "format=json&mask=polygons",
    "coco": "format=coco",
    "coco with polygons": "format=coco&mask=polygons",
    "npz": "format=npz",
}
# for each format: the former commit's query to compare it with, and the least speed-up to reach, or None
FORMER: dict[str, tuple[str, float | None]] = {
    "png": ("format=png", None),
    "json": ("format=json", 4),
    "confidence": ("format=confidence", 4),
    "json with confidence": ("format=json&confidence=true", 4),
    "color": ("format=color", 4),
    "overlay, JPEG": ("format=overlay", 4),
    "overlay": ("format=overlay", None),
    "coco": ("format=coco", None),
    "npz": ("format=npz", None),
}
TEXT = """\
A single client sends JPEGs of {sizes} at the default side and asks for every format in turn. Times run from the request to the
answer's last byte. Default settings, loopback, JSON not compressed. Answer sizes are those of the first photo. {former}"""
FORMER_TEXT = "A service of commit {commit} runs on the same cores and is asked in turn with this one; ratios compare medians."


def run(*, quick: bool, former: Path | None) -> Section:
    seconds: dict[tuple[str, str], list[float]] = {}
    kilobytes: dict[str, float] = {}
    sizes = {"1 megapixel": SIZES["1 megapixel"]} if quick else SIZES
    compared_size = list(sizes)[-1] if quick else COMPARED_SIZE
    with ExitStack() as stack:
        url = stack.enter_context(service()).url
        former_url = ""
        if former:
            former_url = stack.enter_context(service(checkout=former, environment=image_variables(former))).url
        client = stack.enter_context(httpx.Client(timeout=300, headers={"Accept-Encoding": "identity"}))
        for size in sizes:
            images = [photo(name, sizes[size]) for name in (PHOTOS[:1] if quick else PHOTOS)]
            for turn in range(2 if quick else 4):
                for image in images:
                    for key, duration, length in _turn(client, url, former_url if size == compared_size else "", size, image):
                        if turn:  # the first turn warms up
                            seconds.setdefault(key, []).append(duration)
                        if image is images[0] and key[0] == compared_size:
                            kilobytes[key[1]] = length / 1e3
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    rows = [Row.of(f"{size}, {form}", [1000 * value for value in values], "ms") for (size, form), values in seconds.items()]
    rows += [
        Row.of(f"{compared_size}, size of {form}", [value], "kB") for form, value in kilobytes.items() if "former" not in form
    ]
    ratios = [Ratio(f"{size}, {form} / png", medians[size, form] / medians[size, "png"]) for size in sizes for form in QUERIES]
    cutout_ratio = medians[compared_size, "cutout"] / medians[compared_size, "overlay"]
    ratios.append(Ratio(f"{compared_size}, cutout / overlay", cutout_ratio, at_most=None if quick else 2))
    if former:
        for form, (query, aim) in FORMER.items():
            speedup = medians[compared_size, f"former {query}"] / medians[compared_size, form]
            ratios.append(Ratio(f"{compared_size}, former {query} / {form}", speedup, at_least=None if quick else aim))
    former_text = FORMER_TEXT.format(commit=checkout_commit(former)) if former else ""
    return Section("Formats", TEXT.format(sizes=", ".join(sizes), former=former_text), rows, ratios)


def _turn(client: httpx.Client, url: str, former: str, size: str, image: bytes) -> Iterator[tuple[tuple[str, str], float, int]]:
    """Asks for each format once; yields (size, format name), seconds, and the number of bytes of the answer.

    former: the URL of the former service, or an empty string to leave it out.
    """
    for form, query in QUERIES.items():
        yield (size, form), *_post(client, f"{url}/segment?{query}", image)
    for query in dict.fromkeys(query for query, _ in FORMER.values()) if former else ():
        yield (size, f"former {query}"), *_post(client, f"{former}/segment?{query}", image)


def _post(client: httpx.Client, url: str, image: bytes) -> tuple[float, int]:
    start = time.perf_counter()
    answer = client.post(url, content=image).raise_for_status()
    return time.perf_counter() - start, len(answer.content)
