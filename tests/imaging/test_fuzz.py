"""Mutated files of every kind: an image or an `ImageError`, in less time than a good photo takes."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.hostile import mutate
from benchmarks.harness.image_files import file_of
from imaging.decoding import Limits, OpenImage
from imaging.errors import ImageError
from tests.support.costs import compares_times, cpu_seconds
from tests.support.images import Pixels
from tests.support.imaging.corpus import NOISE, SAMPLES, SMALL, good_cpu_seconds

LIMITS = Limits(megapixels=4)
ORIGINALS = [
    *(sample.data for sample in SAMPLES.values()),
    *SMALL.values(),
    file_of(Image.fromarray(NOISE), "JPEG", progressive=True),
    file_of(Image.fromarray(NOISE), "MPO", save_all=True, append_images=[Image.fromarray(NOISE)]),
    file_of(Image.fromarray(NOISE), "TIFF", compression="jpeg"),
    file_of(Image.fromarray(NOISE), "PNG", save_all=True, append_images=[Image.fromarray(255 - NOISE)]),
]


def outcome_of(data: bytes, working: tuple[int, int] | None) -> tuple[int, Pixels] | None:
    """The bytes that its header promises, and the image; None where it is refused."""
    try:
        image = OpenImage(data, LIMITS)
        return image.decoding_bytes(working), image.decode(working).pixels
    except ImageError:
        return None


@compares_times
@pytest.mark.parametrize(("seed", "files"), [(1, 100), pytest.param(2, 5000, marks=pytest.mark.long)])
def test_a_mutated_file_gives_an_image_or_an_image_error_in_less_time_than_a_good_photo(seed: int, files: int) -> None:
    source = random.Random(seed)
    images, most = 0, good_cpu_seconds()
    for index in range(files):
        data = mutate(source, ORIGINALS)
        working = source.choice((None, (20, 30), (64, 64)))
        work = partial(outcome_of, data, working)
        outcome = work()
        assert cpu_seconds(work) < most, (seed, index)
        if outcome is None:
            continue
        promise, image = outcome
        images += 1
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert working in (None, image.shape[:2])
        assert promise > image.nbytes
    assert images > files // 10
