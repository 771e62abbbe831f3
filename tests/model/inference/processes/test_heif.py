"""HEIF in a worker: damaged and hostile files end in an image's error, and the worker that decoded them stays."""

from __future__ import annotations

import asyncio
import random
import sys
from struct import pack

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.hostile import mutate
from imaging.errors import DamagedImage, ImageError
from model.inference.plan import Options
from model.inference.runtime import Runtime
from tests.support.images import make_photo
from tests.support.imaging.heic_files import KVAZAAR, heic_of
from tests.support.imaging.heif_files import heif, uncompressed_hevc
from tests.support.model.workers import asking

pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are kept by Linux alone")
OPTIONS = Options(tile=(96, 96))
PHOTO = Image.fromarray(make_photo(80, 70))
TILE = uncompressed_hevc([np.asarray(PHOTO)[:64, :64, 0].copy()])
ORIGINALS = [
    heic_of(PHOTO),
    heic_of(PHOTO, bits=10),
    heic_of(PHOTO.convert("RGBA"), tile_size=64),
    heif([TILE] * 4, grid=(2, 2, 100, 90), beside=TILE),
    KVAZAAR["grid"],
    KVAZAAR["alpha"],
]


@pytest.mark.parametrize(("seed", "files"), [(1, 100), pytest.param(2, 10_000, marks=pytest.mark.long)])
def test_no_mutated_file_ends_its_worker(runtime: Runtime, seed: int, files: int) -> None:
    async def work() -> None:
        source, answers = random.Random(seed), 0
        async with asking(runtime, 1) as it:
            for _ in range(files):
                try:
                    await it.segment(mutate(source, ORIGINALS), OPTIONS)
                    answers += 1
                except ImageError:
                    pass
            assert set(it.deaths) <= {"grown"}
        assert answers > files // 20

    asyncio.run(work())


def test_an_image_that_is_larger_than_its_header_says_takes_no_memory_for_it(runtime: Runtime) -> None:
    small, large = (64, 64), (8192, 8192)
    data = heic_of(Image.new("RGB", large))
    liar = data.replace(pack(">II", *large), pack(">II", *small))
    assert liar != data

    async def work() -> None:
        async with asking(runtime, 1) as it:
            for _ in range(2):
                with pytest.raises(DamagedImage):
                    await it.segment(liar, OPTIONS)
            assert await it.segment(ORIGINALS[0], OPTIONS)
            assert set(it.deaths) <= {"grown"}

    asyncio.run(work())
