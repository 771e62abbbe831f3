"""What a worker's limits bound: hostile files cost little, and good ones of every format stay within their promise."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil
import pytest

from benchmarks.harness.hostile import HOSTILE, hostile
from imaging.errors import DamagedImage, ImageError
from model.inference.errors import WorkerFailed
from model.inference.plan import Options
from model.inference.runtime import Runtime
from tests.support.imaging.photographs import FILES, files
from tests.support.model.workers import asking

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are kept by Linux alone")
OPTIONS = Options(tile=(96, 96))
MOST_SECONDS = 3.0  # of processor time, of any file
SHORT_MEGAPIXELS, SHORT_MB = 12, 2  # less than any of the files needs
SMALL_FILES = ("jpeg", "rgb png", "gif", "bmp", "tiff", "webp", "avif", "heic")
LIMITED_FILES = ("jpeg", "rgb png", "heic of tiles")


SHORT_HOSTILE = (
    "tiff of overlapping strips", "tiff of a huge tile", "png of exif", "jpeg of stray bytes", "gif of comments", "png bomb",
)  # fmt: skip


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind not in SHORT_HOSTILE)) for kind in HOSTILE]
)
def test_a_hostile_file_costs_its_request_alone_and_little_time(runtime: Runtime, kind: str) -> None:
    async def work() -> None:
        async with asking(runtime, 1) as it:
            worker = psutil.Process(it.workers.pids[0])
            before = sum(worker.cpu_times()[:2])
            with suppress(ImageError, WorkerFailed):
                await it.segment(hostile(kind), OPTIONS)
            if not it.deaths:
                assert sum(worker.cpu_times()[:2]) - before < MOST_SECONDS
            assert it.deaths in ([], ["grown"], ["processor_time"], ["crash"])

    asyncio.run(work())


def files_of(megapixels: float, kinds: Iterable[str]) -> list[Any]:
    """Files of so many megapixels; only small ones of few kinds are quick to make."""
    quick = {1: SMALL_FILES, 12: LIMITED_FILES}.get(int(megapixels), ())
    marks = {kind: [pytest.mark.long] * (kind not in quick) for kind in kinds}
    return [pytest.param(megapixels, kind, marks=marks[kind], id=f"{kind}-{megapixels:g}") for kind in kinds]


# to plan a GIF whose first frame is disposed to background takes a byte a pixel
AT_100 = [kind for kind in FILES if kind != "disposing gif"]


@pytest.mark.parametrize(("megapixels", "kind"), files_of(1, FILES) + files_of(12, FILES) + files_of(99.9, AT_100))
def test_a_good_file_is_worked_on_within_its_promise(runtime: Runtime, megapixels: float, kind: str) -> None:
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    data = files(width * 3 // 4, width)[kind]()

    async def work() -> None:
        async with asking(runtime, 1) as it:
            for _ in range(2):  # what a first image leaves in a worker is no help to the second
                assert await it.segment(data, OPTIONS)
            if megapixels == SHORT_MEGAPIXELS:
                with pytest.raises(DamagedImage):
                    await it.segment(data, Options(tile=(96, 96), side=2000), memory_bytes=SHORT_MB << 20)
                assert await it.segment(data, OPTIONS)
            assert set(it.deaths) <= {"grown"}

    asyncio.run(work())
