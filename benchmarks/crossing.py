"""Many clients with different images at once: whether each gets its own answer."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from benchmarks.images import PHOTOS, photo, samples, segmenter
from benchmarks.load import Load, load
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import service

CLIENTS = 64
REQUESTS = 500
SIDES = (48, 160)
TEXT = f"""\
{CLIENTS} clients send {REQUESTS} requests each without pause: cuts of the photographs in `docs/`, each of its own place and
size, as JPEG, segmented at their own size. Default settings; every answer compared, byte for byte, with the command line's of
that image."""


def run(*, quick: bool) -> Section:
    segment = segmenter("--side", "native")
    asked = samples(segment, cuts(40 if quick else 1000))
    wanted = CLIENTS * (4 if quick else REQUESTS)
    with service() as server:
        loads: list[Load] = []
        while not loads or sum(len(each.answers) for each in loads) < wanted:
            loads.append(load(server.url, asked, connections=CLIENTS, seconds=2 if quick else 20, path="/segment?side=native"))
    answers, wrong = sum(len(each.answers) for each in loads), sum(each.wrong for each in loads)
    failed = answers - wrong + sum(each.errors - each.good for each in loads)
    rows = [
        Row.of("different right answers", [len({each.expected for each in asked})], "files"),
        Row.of("answers", [answers], "images"),
        Row.of("rate", [each.rate for each in loads], "images/s"),
    ]
    ratios = [
        Ratio("answers that are another image's, or wrong in another way", wrong, at_most=0),
        Ratio("refusals, failures and broken connections", failed, at_most=0),
    ]
    return Section("Own answers", TEXT, rows, ratios)


def cuts(count: int) -> list[bytes]:
    """So many pieces of the photographs, of sides within `SIDES`."""
    noise = np.random.default_rng(0)
    whole = [Image.open(io.BytesIO(photo(name, (640, 480)))) for name in PHOTOS]
    found = []
    for index in range(count):
        width, height = (int(side) for side in noise.integers(*SIDES, 2))
        left, top = int(noise.integers(640 - width)), int(noise.integers(480 - height))
        buffer = io.BytesIO()
        whole[index % len(whole)].crop((left, top, left + width, top + height)).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found
