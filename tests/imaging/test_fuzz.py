"""Mutated files of every kind: an image or an `ImageError`, in less time than a good photo takes."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
from PIL import Image

from imaging.decoding import Limits, decode, decoding_bytes
from imaging.errors import ImageError
from tests.conftest import Pixels
from tests.costs import cpu_seconds
from tests.imaging.files import NOISE, SAMPLES, SMALL, good_cpu_seconds
from tests.imaging.samples import file_of

LIMITS = Limits(megapixels=4)
ORIGINALS = [
    *(sample.data for sample in SAMPLES.values()),
    *SMALL.values(),
    file_of(Image.fromarray(NOISE), "JPEG", progressive=True),
    file_of(Image.fromarray(NOISE), "MPO", save_all=True, append_images=[Image.fromarray(NOISE)]),
    file_of(Image.fromarray(NOISE), "TIFF", compression="jpeg"),
    file_of(Image.fromarray(NOISE), "PNG", save_all=True, append_images=[Image.fromarray(255 - NOISE)]),
]
TELLING = (b"\xff\xff\xff\xff", b"\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\x80", b"\xff\xda", b"\0\1", b"\x10\0")


def mutated(source: random.Random) -> bytes:
    """A file with some bytes changed (most of them near its start), parts repeated, taken out or exchanged with another's."""
    data = bytearray(source.choice(ORIGINALS))
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        reach = min(len(data), source.choice((64, 300, len(data)))) or 1
        start = source.randrange(reach)
        end = start + source.choice((1, 4, 30, 400))
        kind = source.randrange(6)
        if kind <= 1:
            data[start : start + 1] = bytes([source.randrange(256)])
        elif kind == 2:
            number = source.choice(TELLING)
            data[start : start + len(number)] = number
        elif kind == 3:
            data[start:end] = data[start:end] * source.choice((0, 2, 50))
        elif kind == 4:
            data[start:end] = source.choice(ORIGINALS)[start:end]
        elif source.randrange(4) == 0:
            del data[source.randrange(len(data) + 1) :]
    return bytes(data)


def outcome_of(data: bytes, working: tuple[int, int] | None) -> tuple[int, Pixels] | None:
    """The bytes that its header promises, and the image; None where it is refused."""
    try:
        return decoding_bytes(data, LIMITS, working), decode(data, LIMITS, working)
    except ImageError:
        return None


@pytest.mark.parametrize(("seed", "files"), [(1, 500), pytest.param(2, 5000, marks=pytest.mark.long)])
def test_a_mutated_file_gives_an_image_or_an_image_error_in_less_time_than_a_good_photo(seed: int, files: int) -> None:
    source = random.Random(seed)
    images, most = 0, good_cpu_seconds()
    for index in range(files):
        data = mutated(source)
        working = source.choice((None, (20, 30), (64, 64)))
        work = partial(outcome_of, data, working)
        outcome = work()
        assert cpu_seconds(work) < most, (seed, index)
        if outcome is None:
            continue
        promised, image = outcome
        images += 1
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert working in (None, image.shape[:2])
        assert promised > image.nbytes
    assert images > files // 10
