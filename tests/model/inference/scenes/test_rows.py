"""Scenes by rows of tiles: every pixel as if the whole scene were one image, from any row on."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice, pairwise

import numpy as np
import pytest

from common.arrays import Mask
from imaging.classes import VOID
from imaging.georeferenced.rows import PixelRows
from imaging.rendering import Rendering
from model.inference.merging import Logits
from model.inference.plan import Options
from model.inference.runtime import Runtime, Tile
from model.inference.scenes.rows import AHEAD_SHARE, ClassRows, segment_scene
from model.inference.segmenter import Segmenter
from model.inference.tiling import TilePlan, plan_tiles
from tests.support.images import Pixels, make_photo
from tests.support.polling import wait_until

TILE = (64, 64)
FILL = 127


class Held:
    """A scene in memory, read a few rows at a time; counts them."""

    def __init__(self, pixels: Pixels, valid: Mask | None = None, chunk: int = 37) -> None:
        self.pixels, self.mask, self.chunk = pixels.copy(), np.ones(pixels.shape[:2], bool) if valid is None else valid, chunk
        self.pixels[~self.mask] = FILL
        self.first_row: int | None = None

    def working(self, first: int) -> Iterator[PixelRows]:
        self.first_row = first
        for top in range(first, len(self.pixels), self.chunk):
            yield PixelRows(top, self.pixels[top : top + self.chunk], self.mask[top : top + self.chunk])

    def valid(self, first: int, last: int) -> Mask:
        return self.mask[first:last]


class Network:
    """Runs tiles at once, and counts them."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.tiles = runtime, 0

    def __call__(self, tile: Tile) -> Future[Logits]:
        self.tiles += 1
        future = Future[Logits]()
        future.set_result(self.runtime.logits([tile])[0])
        return future


def joined(parts: list[ClassRows]) -> tuple[Pixels, Pixels | None]:
    for before, after in pairwise(parts):
        assert before.bottom == after.top
    confidences = [part.confidence for part in parts if part.confidence is not None]
    return np.concatenate([part.ids for part in parts]), np.concatenate(confidences) if confidences else None


def plan(size: tuple[int, int]) -> tuple[tuple[int, int], TilePlan]:
    """The size of a scene, and its tiles."""
    return size, plan_tiles(size, TILE)


@pytest.mark.parametrize("size", [(200, 150), (64, 64), (1, 300), (300, 1), (65, 31), (130, 400)])
def test_every_pixel_is_that_of_the_whole(segmenter: Segmenter, size: tuple[int, int]) -> None:
    image = make_photo(*size)
    whole = segmenter(image, Options(tile=TILE, side="native", rendering=Rendering("confidence")))
    network = Network(segmenter.runtime)
    parts = list(segment_scene(Held(image), *plan(size), segmenter.runtime, network, temperature=segmenter.temperature))
    ids, confidence = joined(parts)
    assert (ids == whole.class_map).all()
    assert confidence is not None
    np.testing.assert_array_equal(confidence, whole.confidence)
    assert network.tiles == len(plan(size)[1])
    assert max(len(part.ids) for part in parts) <= 2 * TILE[0]  # so memory does not grow with the height


@pytest.mark.parametrize("first", [0, 1, 47, 48, 100, 199])
def test_a_run_from_any_row_gives_the_rows_of_one_from_the_top(segmenter: Segmenter, first: int) -> None:
    image = make_photo(200, 150)
    source, network = Held(image), Network(segmenter.runtime)
    whole, sure = joined(list(segment_scene(source, *plan((200, 150)), segmenter.runtime, network, temperature=1.0)))
    tiles = network.tiles
    rest = list(segment_scene(source, *plan((200, 150)), segmenter.runtime, network, temperature=1.0, first_row=first))
    ids, confidence = joined(rest)
    assert rest[0].top == first
    assert (ids == whole[first:]).all()
    assert confidence is not None
    assert sure is not None
    assert (confidence == sure[first:]).all()
    if first >= 100:
        assert network.tiles - tiles < tiles
        assert source.first_row


def test_what_has_no_data_is_void_and_its_tiles_run_once(segmenter: Segmenter) -> None:
    image, valid = make_photo(300, 260), np.ones((300, 260), bool)
    valid[:, 90:] = False
    valid[:20, :20] = False
    void_tile = np.full((*TILE, 3), FILL, np.uint8)
    source, network = Held(image, valid), Network(segmenter.runtime)
    ids, _ = joined(list(segment_scene(source, *plan((300, 260)), segmenter.runtime, network, void_tile=void_tile)))
    whole = segmenter(source.pixels, Options(tile=TILE, side="native")).class_map
    assert (ids[valid] == whole[valid]).all()
    assert (ids[~valid] == VOID).all()
    assert network.tiles < len(plan((300, 260))[1]) / 2 + 1


def test_a_scene_is_scaled_for_the_network_and_its_classes_back(segmenter: Segmenter) -> None:
    image = make_photo(100, 80)
    tiles = plan_tiles((100, 80), TILE)
    parts = list(segment_scene(_Scaled(image), (250, 200), tiles, segmenter.runtime, Network(segmenter.runtime)))
    ids, _ = joined(parts)
    options = Options(tile=TILE, side=100)
    whole = segmenter.infer(image, segmenter.plan_size((250, 200), options)).class_map
    assert (ids == whole).all()


class _Scaled(Held):
    def valid(self, first: int, last: int) -> Mask:
        return np.ones((last - first, 200), bool)


def scene_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("scene ")]


def test_the_network_goes_on_with_a_bounded_number_of_tiles_while_the_caller_writes(segmenter: Segmenter) -> None:
    (size, tiles), network = plan((700, 700)), Network(segmenter.runtime)
    columns = len(tiles.lefts)
    parts = segment_scene(Held(make_photo(700, 700)), size, tiles, segmenter.runtime, network, ahead=2)
    next(parts)
    # the caller has a row, one more waits for it, and tiles of the next one wait
    expected = 2 * columns + math.ceil(AHEAD_SHARE * columns)
    wait_until(lambda: network.tiles == expected)
    time.sleep(0.2)
    assert network.tiles == expected < len(tiles)
    parts.close()
    assert not scene_threads()


@pytest.mark.parametrize("error", [OSError("no such block"), KeyboardInterrupt()])
def test_an_error_of_any_thread_comes_after_the_rows_before_it_and_leaves_no_thread(
    segmenter: Segmenter, error: BaseException
) -> None:
    class Damaged(Held):
        def working(self, first: int) -> Iterator[PixelRows]:
            yield from islice(super().working(first), 8)
            raise error

    network = Network(segmenter.runtime)
    parts = segment_scene(Damaged(make_photo(700, 150)), *plan((700, 150)), segmenter.runtime, network)
    bottoms: list[int] = []
    with pytest.raises(type(error)):
        bottoms.extend(part.bottom for part in parts)
    assert bottoms[-1] > 8 * 37 - 2 * TILE[0]
    assert not scene_threads()


def test_leaving_early_does_not_wait_for_the_row_of_tiles(segmenter: Segmenter) -> None:
    """A network that answers no further tile of a row until the caller has left."""
    (size, plan_of_tiles), runtime = plan((200, 3000)), segmenter.runtime
    columns, left, tiles = len(plan_of_tiles.lefts), threading.Event(), 0

    def submit(tile: Tile) -> Future[Logits]:
        nonlocal tiles
        tiles += 1
        if tiles > columns + 2:
            left.wait()
        return Network(runtime)(tile)

    parts = segment_scene(Held(make_photo(200, 3000)), size, plan_of_tiles, runtime, submit, ahead=1)
    next(parts)
    wait_until(lambda: tiles == columns + 3)
    threading.Timer(0.2, left.set).start()
    parts.close()
    assert tiles <= columns + 4 + math.ceil(AHEAD_SHARE * columns) < 2 * columns
    assert not scene_threads()
