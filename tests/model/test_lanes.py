"""Lanes: how many calls run at once, and that logits do not depend on it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from model.cores import CHOOSES, keep_to_core
from model.lanes import Lanes, Slots
from model.predictor import Predictor, Tile
from model.weights_file import DEFAULT_WEIGHTS, Weights, find_weights, load_weights

Photo = Callable[..., npt.NDArray[np.uint8]]
UNSTEADY = "the libraries change bits with the number of threads on this processor, which Lanes finds out"


class Watched(Predictor):
    """A predictor that can be held, and notes how many threads each call has and how many calls run at once."""

    def __init__(self, weights: Weights, dtype: str = "bfloat16", *, unsteady: bool = False) -> None:
        super().__init__(weights, "cpu", dtype)
        if unsteady:
            scores = self._scores
            self._scores = lambda batch: scores(batch) + torch.get_num_threads()
        self.threads: list[int] = []
        self.running = self.most = 0
        self.may_run = threading.Event()
        self._guard = threading.Lock()

    def logits(self, tiles: Sequence[Tile]) -> Tensor:
        with self._guard:
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.append(torch.get_num_threads())
        assert self.may_run.wait(30)
        found = super().logits(tiles)
        with self._guard:
            self.running -= 1
        return found


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("unsteady", "count"), [(False, 4), (True, 1)], ids=["steady", "unsteady"])
def test_a_tile_has_a_lane_where_threads_do_not_change_its_bits(
    narrow: Weights, dtype: str, unsteady: bool, count: int
) -> None:
    predictor = Watched(narrow, dtype, unsteady=unsteady)
    if dtype == "float32" and not unsteady and not predictor.steady((1, 2, 4)):
        pytest.skip(UNSTEADY)
    lanes = Lanes(predictor, 4)
    assert (lanes.count, lanes.batch_tiles) == (count, 1)


@pytest.mark.parametrize(("unsteady", "most", "threads"), [(False, 2, {1, 2}), (True, 1, {2})], ids=["steady", "unsteady"])
def test_so_many_calls_run_at_once_and_share_the_threads(
    narrow: Weights, photo: Photo, unsteady: bool, most: int, threads: set[int]
) -> None:
    predictor = Watched(narrow, unsteady=unsteady)
    lanes = Lanes(predictor, 2)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(lanes.logits, [photo(32, 64)]) for _ in range(5)]
        while len(predictor.threads) < most:
            threading.Event().wait(0.01)
        predictor.may_run.set()
        for call in calls:
            call.result(30)
    assert predictor.most == most
    assert set(predictor.threads) <= threads
    assert predictor.threads[1:most] == [1] * (most - 1)


def test_a_lone_call_has_all_threads(narrow: Weights, photo: Photo) -> None:
    predictor = Watched(narrow)
    predictor.may_run.set()
    lanes = Lanes(predictor, 2)
    for _ in range(3):
        lanes.logits([photo(32, 64)])
    assert predictor.threads == [2, 2, 2]


def test_of_the_threads_own_lanes_the_first_alone_spreads_a_tile(narrow: Weights, photo: Photo) -> None:
    predictor = Watched(narrow)
    predictor.may_run.set()
    first, second = Lanes(predictor, 2).each()
    for lane in (first, second, first):
        lane.logits([photo(32, 64)])
    assert predictor.threads == [2, 1, 2]
    (only,) = Lanes(Watched(narrow, unsteady=True), 2).each()
    assert only.spreads


def test_lanes_of_who_has_a_place_take_none_and_one_of_them_spreads(narrow: Weights, photo: Photo) -> None:
    slots = Slots(1)
    predictor = Watched(narrow)
    predictor.may_run.set()
    placed = Lanes(predictor, 2, slots).placed
    assert placed is not None
    with slots:
        for lane in placed:
            lane.logits([photo(32, 64)])
        slots.join(1)
        placed[0].logits([photo(32, 64)])
        slots.join(-1)
    assert predictor.threads == [2, 1, 1]
    assert Lanes(Watched(narrow, unsteady=True), 2).placed is None


def test_a_lone_call_leaves_cores_to_those_who_work_without_a_place(narrow: Weights, photo: Photo) -> None:
    slots = Slots(3)
    predictor = Watched(narrow)
    predictor.may_run.set()
    lanes = Lanes(predictor, 2, slots)
    for joined in (1, -1):
        slots.join(joined)
        lanes.logits([photo(32, 64)])
    assert predictor.threads == [1, 2]


def test_free_places_go_to_the_lowest_order_and_of_equals_to_the_first() -> None:
    slots, turns = Slots(1), list[str]()

    def work(name: str, order: float) -> None:
        slots.take(order)
        turns.append(name)
        slots.leave()

    with ThreadPoolExecutor(4) as pool:
        slots.take()
        calls = []
        for count, (name, order) in enumerate([("late", 9.0), ("first", 1.0), ("second", 1.0), ("middle", 5.0)], 1):
            calls.append(pool.submit(work, name, order))
            while len(slots._waiting) < count:
                threading.Event().wait(0.01)
        slots.leave()
        for call in calls:
            call.result(30)
    assert turns == ["first", "second", "middle", "late"]
    assert slots.held == 0


@pytest.mark.skipif(not CHOOSES, reason="threads do not choose their cores on this system")
def test_a_thread_that_keeps_to_a_core_leaves_it_for_calls_of_several_threads_alone(narrow: Weights, photo: Photo) -> None:
    class Placed(Watched):
        def logits(self, tiles: Sequence[Tile]) -> Tensor:
            seen.append(len(os.sched_getaffinity(0)))
            return super().logits(tiles)

    def call() -> int:
        keep_to_core(0, every)
        for lane in Lanes(predictor, 2).each():
            lane.logits([photo(32, 64)])
        return len(os.sched_getaffinity(0))

    every = len(os.sched_getaffinity(0))
    seen: list[int] = []
    predictor = Placed(narrow)
    predictor.may_run.set()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(call).result(30) == 1
    assert seen == [every, 1]


def test_a_call_leaves_its_thread_with_one(narrow: Weights, photo: Photo) -> None:
    Lanes(Predictor(narrow, "cpu", "bfloat16"), 2).logits([photo(32, 64)])
    assert torch.get_num_threads() == 1


def test_a_call_holds_a_slot_and_leaves_cores_to_those_who_hold_others(narrow: Weights, photo: Photo) -> None:
    slots = Slots(2)
    predictor = Watched(narrow)
    predictor.may_run.set()
    lanes = Lanes(predictor, 2, slots)
    with ThreadPoolExecutor(1) as pool:
        with slots:
            lanes.logits([photo(32, 64)])
            assert predictor.threads == [1]
            with slots:
                assert slots.held == 2
                call = pool.submit(lanes.logits, [photo(32, 64)])
                threading.Event().wait(0.1)
                assert predictor.threads == [1]
        call.result(30)
    assert slots.held == 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("size", [(512, 512), (384, 512), (384, 480), (64, 320), (64, 64)], ids=str)
def test_logits_do_not_depend_on_the_number_of_threads(photo: Photo, dtype: str, size: tuple[int, int]) -> None:
    predictor = Predictor(load_weights(find_weights(DEFAULT_WEIGHTS)), "cpu", dtype)
    if dtype == "float32" and not predictor.steady((1, 2, 3, 8)):
        pytest.skip(UNSTEADY)
    found = []
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        found.append(predictor.logits([photo(*size)]))
    assert [torch.equal(found[0], other) for other in found] == [True] * 4
