"""What a worker's limits bound: hostile files cost little, and good ones of every format stay within their promise."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from struct import pack
from typing import Any

import psutil
import pytest
from PIL import Image

from benchmarks.harness.hostile import HOSTILE, hostile, mutate
from imaging.errors import DamagedImage, ImageError
from imaging.formats.heif import IS_INSTALLED
from model.inference.errors import WorkerFailed
from model.inference.plan import Options
from tests.support.checkout import ROOT
from tests.support.images import make_photo
from tests.support.imaging.heic_files import KVAZAAR, heic_of
from tests.support.imaging.heif_files import heif, lossless_hevc
from tests.support.imaging.photographs import FILES, files
from tests.support.model.workers import OPTIONS, Asking
from tests.support.polling import HANG_S

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="limits are kept by Linux alone")]
needs_heif = pytest.mark.skipif(not IS_INSTALLED, reason="the extra heif is not installed")
MOST_SECONDS = 3.0  # of processor time, of any file
SHORT_MEGAPIXELS, SHORT_MB = 12, 2  # less than any of the files needs
SMALL_FILES = ("jpeg", "rgb png", "gif", "bmp", "tiff", "webp", "avif", "heic", "heic of tiles")
LIMITED_FILES = ("jpeg", "rgb png")

TIMED = """
import time
from model.inference.processes.confinement import limit, unlimit, unlimit_cpu

def burn(seconds):
    start = clock()
    while clock() - start < seconds:
        pass

clock = time.process_time
burn(0.4)
time.process_time = lambda: 0.0  # a clock that lies behind the system's
limit(1 << 30, 0.2)
burn(0.04)
for end in (unlimit_cpu, unlimit):
    end()
    burn(0.25)
    limit(1 << 30, 0.2)
print("within", flush=True)
burn(1000)
"""
SHORT_HOSTILE = (
    "tiff of a huge tile", "png of exif", "jpeg of stray bytes", "gif of comments", "png bomb",
)  # fmt: skip


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind not in SHORT_HOSTILE)) for kind in HOSTILE]
)
async def test_a_hostile_file_costs_its_request_alone_and_little_time(one: Asking, kind: str) -> None:
    worker = psutil.Process(one.workers.pids[0])
    before = sum(worker.cpu_times()[:2])
    with suppress(ImageError, WorkerFailed):
        await one.segment(hostile(kind), OPTIONS)
    if not one.deaths:
        assert sum(worker.cpu_times()[:2]) - before < MOST_SECONDS
    assert one.deaths in ([], ["grown"], ["processor_time"], ["crash"])


def files_of(megapixels: float, kinds: Iterable[str]) -> list[Any]:
    """Files of so many megapixels; only small ones of few kinds are quick to make."""
    quick = {1: SMALL_FILES, 12: LIMITED_FILES}.get(int(megapixels), ())
    marks = {kind: [pytest.mark.long] * (kind not in quick) for kind in kinds}
    return [pytest.param(megapixels, kind, marks=marks[kind], id=f"{kind}-{megapixels:g}") for kind in kinds]


# to plan a GIF whose first frame is disposed to background takes a byte a pixel
AT_100 = [kind for kind in FILES if kind != "disposing gif"]


@pytest.mark.parametrize(("megapixels", "kind"), files_of(1, FILES) + files_of(12, FILES) + files_of(99.9, AT_100))
async def test_a_good_file_is_worked_on_within_its_promise(one: Asking, megapixels: float, kind: str) -> None:
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    data = files(width * 3 // 4, width)[kind]()
    for _ in range(2):  # what a first image leaves in a worker is no help to the second
        assert await one.segment(data, OPTIONS)
    if megapixels == SHORT_MEGAPIXELS:
        with pytest.raises(DamagedImage):
            await one.segment(data, Options(tile=(96, 96), side=2000), memory_bytes=SHORT_MB << 20)
        assert await one.segment(data, OPTIONS)
    assert set(one.deaths) <= {"grown"}


@needs_heif
@pytest.mark.parametrize(("seed", "count"), [(1, 100), pytest.param(2, 10_000, marks=pytest.mark.long)])
async def test_no_mutated_heif_ends_its_worker(one: Asking, seed: int, count: int) -> None:
    photo, tile = Image.fromarray(make_photo(80, 70)), lossless_hevc(make_photo(64, 64)[..., 0])
    originals = [heic_of(photo), heic_of(photo, bits=10), heic_of(photo.convert("RGBA"), tile_size=64)]
    originals += [heif([tile] * 4, grid=(2, 2, 100, 90), beside=tile), KVAZAAR["grid"], KVAZAAR["alpha"]]
    source, answers = random.Random(seed), 0
    for _ in range(count):
        with suppress(ImageError):
            await one.segment(mutate(source, originals), OPTIONS)
            answers += 1
    assert set(one.deaths) <= {"grown"}
    assert answers > count // 20


@needs_heif
async def test_a_heif_that_is_larger_than_its_header_says_takes_no_memory_for_it(one: Asking) -> None:
    small, large = (64, 64), (4096, 4096)
    data = heic_of(Image.new("RGB", large))
    liar = data.replace(pack(">II", *large), pack(">II", *small))
    assert liar != data
    for _ in range(2):
        with pytest.raises(DamagedImage):
            await one.segment(liar, OPTIONS)
    assert await one.segment(heic_of(Image.new("RGB", small)), OPTIONS)
    assert set(one.deaths) <= {"grown"}


def test_processor_time_before_a_limit_does_not_count_whatever_the_clocks_say_and_time_after_it_does() -> None:
    run = subprocess.run([sys.executable, "-c", TIMED], capture_output=True, cwd=ROOT, timeout=HANG_S)
    assert (run.stdout.split(), run.returncode) == ([b"within"], -signal.SIGPROF)
