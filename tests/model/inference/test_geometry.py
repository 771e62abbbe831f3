"""Where things lie: long narrow images against the network without tiles, and an edge at thousands of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from model.inference.merging import Logits
from model.inference.plan import Options
from model.inference.runtime import Tile
from model.inference.scaling import working_size
from model.inference.segmenter import Segmenter
from tests.support.model.doubles import FirstChannel
from tests.support.model.segmentation import segment_pixels

pytestmark = pytest.mark.long
EDGES = 10_000
SIDES = (32, 512)
Side = Literal["native"] | int


class BrightOrDark(FirstChannel):
    """A runtime of two classes, decided by each pixel alone: 1 where it is brighter than half."""

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        brightness = np.stack([tile[:, :, 0] for tile in tiles]).astype(np.float32) - 127.5
        return np.stack([-brightness, brightness], axis=1)


def edge_offset(segmenter: Segmenter, size: tuple[int, int], place: int, side: Side, *, upright: bool) -> int:
    """How far the edge of an image that is bright from column `place` on is moved, in pixels.

    upright: whether columns are bright; else the image lies on its side. Also sees that the edge is straight, and the only one.
    """
    image = np.zeros((*size, 3), np.uint8)
    image[:, place:] = 255
    pixels = image if upright else np.ascontiguousarray(image.transpose(1, 0, 2))
    class_map = segment_pixels(segmenter, pixels, Options((128, 128), 0.25, side=side)).class_map
    lines = class_map if upright else class_map.T
    shift = int(np.count_nonzero(lines[0] == 0)) - place
    expected = np.arange(size[1]) >= place + shift
    assert (lines == expected).all(), (size, place, side, upright)
    return shift


def test_an_edge_stays_where_it_is_at_any_size() -> None:
    """It moves by half a pixel of the working size at most, rounded to pixels of the image, and to either side alike."""
    segmenter = Segmenter(BrightOrDark())
    rng = np.random.default_rng(2)
    offsets = []
    for number in range(EDGES):
        height, width = (int(2 ** rng.uniform(1, 9)) for _ in range(2))
        side: Side = "native" if number % 5 == 0 else int(rng.integers(32, min(512, 4 * max(height, width, 32)) + 1))
        place = int(rng.integers(1, width))
        offset = edge_offset(segmenter, (height, width), place, side, upright=number % 2 == 0)
        scale = max(1.0, width / working_size((height, width), side, SIDES)[1])
        assert abs(offset) <= (0 if side == "native" else 0.5 * scale + 0.5), (height, width, place, side)
        offsets.append(offset / scale)
    assert abs(np.mean(offsets)) < 0.02
