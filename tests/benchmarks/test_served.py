"""What a service is compared with: the command line's own work, with its answers checked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.images import photos, samples, segmenter
from benchmarks.load import Sample
from benchmarks.served import from_files, in_process
from cli.local import Segmenter

SECONDS = 0.3


@pytest.fixture(scope="module")
def segment() -> Segmenter:
    return segmenter("--side", "64")


@pytest.fixture(scope="module")
def images(segment: Segmenter) -> list[Sample]:
    return samples(segment, photos([(96, 64)]))


def test_images_are_counted_from_files_and_from_memory(segment: Segmenter, images: list[Sample]) -> None:
    assert from_files(segment, images, SECONDS) > 3
    assert in_process(segment, images, SECONDS) > 3


@pytest.mark.parametrize("count", [from_files, in_process])
def test_a_wrong_answer_ends_the_measurement(segment: Segmenter, images: list[Sample], count: object) -> None:
    wrong = [images[0], replace(images[1], expected=images[0].expected), images[2]]
    with pytest.raises(RuntimeError, match="another one's mask"):
        count(segment, wrong, SECONDS)  # type: ignore[operator]


def test_an_image_that_fails_ends_the_measurement(segment: Segmenter, images: list[Sample]) -> None:
    with pytest.raises(RuntimeError, match="not at all"):
        from_files(segment, [Sample(b"no image", b""), *images], SECONDS)
