"""Who is let in, on a clock of the test's own."""

from __future__ import annotations

import pytest

from app.admission import SAFE, Admission
from app.engine_errors import QueueFull, TooManyTiles

FAR = 1e6


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def worked(seconds: float, tiles: int, limit: int = 1000) -> tuple[Admission, Clock]:
    """An admission that has seen this much work, one tile after the other."""
    clock = Clock()
    admission = Admission(limit, clock)
    work(admission, clock, seconds, tiles)
    return admission, clock


def work(admission: Admission, clock: Clock, seconds: float, tiles: int, *, at_once: bool = False) -> None:
    """Takes so many tiles and gives them back in so many seconds, one after the other or as one image's."""
    images, of = (1, tiles) if at_once else (tiles, 1)
    for _ in range(images):
        room = admission.take(of, FAR)
        clock.now += seconds / images
        admission.give_back(room, done=True)


def fill(admission: Admission, images: int) -> None:
    """Takes this many tiles, each an image's only one."""
    for _ in range(images):
        admission.take(1, FAR)


def test_tiles_are_counted_until_they_are_given_back() -> None:
    admission = Admission(10, Clock())
    seven = admission.take(7, FAR)
    admission.take(3, FAR)
    assert admission.queued == 10
    admission.give_back(seven, 5, done=True)
    assert admission.queued == 5
    admission.give_back(seven, 5, done=True)
    assert admission.queued == 3
    admission.give_back(seven, done=True)
    assert admission.queued == 3


@pytest.mark.parametrize("tiles", [1, 2])
def test_a_tile_comes_after_one_of_each_other_request(tiles: int) -> None:
    admission, clock = worked(10.0, 100)  # ten a second
    for of in (1, 5, 5):
        admission.take(of, FAR)
    needed = ({1: 3, 2: 5}[tiles] + tiles) / 10 / SAFE
    with pytest.raises(QueueFull):
        admission.take(tiles, clock.now + needed - 0.1)
    admission.take(tiles, clock.now + needed + 0.1)


def test_more_tiles_than_could_ever_wait_are_too_many() -> None:
    with pytest.raises(TooManyTiles, match="the image makes 11 tiles and at most 10 are taken; give a smaller side"):
        Admission(10, Clock()).take(11, FAR)


def test_a_full_queue_refuses_and_lets_in_again() -> None:
    admission = Admission(10, Clock())
    admission.take(8, FAR)
    with pytest.raises(QueueFull, match="8 tiles are queued and at most 10 are taken"):
        admission.take(3, FAR)
    assert not admission.refusal(FAR)
    admission.take(2, FAR)
    assert admission.refusal(FAR)


@pytest.mark.parametrize(("seconds", "tiles", "rate"), [(5.0, 100, 20.0), (50.0, 100, 2.0)])
def test_the_rate_is_that_of_busy_time(seconds: float, tiles: int, rate: float) -> None:
    admission, clock = worked(seconds, tiles)
    assert admission.tiles_per_second == pytest.approx(rate, rel=0.01)
    clock.now += 1000
    assert admission.tiles_per_second == pytest.approx(rate, rel=0.01)


def test_the_rate_follows_a_change() -> None:
    admission, clock = worked(50, 1000)
    work(admission, clock, 50, 100)
    assert admission.tiles_per_second == pytest.approx(2, rel=0.1)


def test_work_that_was_given_up_does_not_count() -> None:
    admission, clock = worked(5, 100)
    assert admission.tiles_per_second == pytest.approx(20, rel=0.01)
    room = admission.take(500, FAR)
    clock.now += 5
    admission.give_back(room, done=False)
    assert admission.tiles_per_second is not None
    assert admission.tiles_per_second < 10


@pytest.mark.parametrize(("queued", "first", "done"), [(10, 10, True), (200, 4, True), (200, 4, False)])
def test_a_process_that_was_stopped_is_not_taken_for_a_slow_one(queued: int, first: int, done: bool) -> None:
    admission, clock = worked(50, 1000)
    room = admission.take(queued, FAR)
    clock.now += 600
    admission.give_back(room, first, done=done)
    assert admission.tiles_per_second is not None
    assert admission.tiles_per_second > 14


def test_a_stop_before_anything_is_measured_is_soon_forgotten() -> None:
    admission, clock = worked(0.5, 10)
    room = admission.take(1, FAR)
    clock.now += 600
    admission.give_back(room, done=True)
    assert admission.tiles_per_second is not None
    assert admission.tiles_per_second > 0.3
    work(admission, clock, 20, 400)
    assert admission.tiles_per_second == pytest.approx(20, rel=0.2)


def test_a_long_time_of_work_fades_as_fast_as_a_short_one() -> None:
    admission, clock = worked(50, 250)
    work(admission, clock, 100, 500, at_once=True)
    work(admission, clock, 10, 200)
    assert admission.tiles_per_second == pytest.approx(14.5, rel=0.1)


def test_a_device_that_became_sixty_times_slower_is_believed() -> None:
    admission, clock = worked(50, 1000)
    work(admission, clock, 90, 30)
    assert admission.tiles_per_second == pytest.approx(1 / 3, rel=0.1)


def test_retry_after_is_how_long_the_queue_takes() -> None:
    admission, _ = worked(50, 1000, limit=100)
    fill(admission, 100)
    with pytest.raises(QueueFull) as refused:
        admission.take(1, FAR)
    assert refused.value.retry_after == 5


def test_who_has_more_tiles_than_time_is_told_how_many_seconds_are_lacking() -> None:
    admission, clock = worked(50, 600)
    fill(admission, 5)
    with pytest.raises(QueueFull, match=r"5 tiles are queued, and these would be done in 58\.\d s") as refused:
        admission.take(700, clock.now + 60)
    assert refused.value.retry_after == 29


def test_what_could_not_be_done_in_time_is_refused_at_once() -> None:
    admission, clock = worked(50, 1000)
    fill(admission, 100)
    admission.take(15, clock.now + 12)
    with pytest.raises(QueueFull, match=r"115 tiles are queued, and these would be done in 6\.[67] s, too near the deadline"):
        admission.take(19, clock.now + 12)


def test_a_huge_image_keeps_no_small_one_out_since_they_take_turns() -> None:
    admission, clock = worked(50, 600)
    admission.take(800, FAR)
    fill(admission, 50)
    assert not admission.refusal(clock.now + 10, coming=5)
    admission.take(1, clock.now + 10)
    with pytest.raises(QueueFull, match=r"851 tiles are queued, and these would be done in 29\.1 s"):
        admission.take(149, clock.now + 40)


def test_retry_after_is_how_long_those_take_that_come_first() -> None:
    admission, clock = worked(50, 600)
    admission.take(800, FAR)
    fill(admission, 22)
    with pytest.raises(QueueFull) as refused:
        admission.take(1, clock.now + 1)
    assert refused.value.retry_after == 2


def test_those_on_their_way_count_at_the_door() -> None:
    admission, clock = worked(50, 1000)
    fill(admission, 100)
    assert not admission.refusal(clock.now + 12, coming=15)
    assert str(admission.refusal(clock.now + 12, coming=50)).startswith("100 tiles are queued")


def test_an_image_that_comes_to_an_empty_queue_may_try() -> None:
    admission, clock = worked(50, 100)
    admission.take(500, clock.now + 1)
    assert admission.queued == 500


def test_before_anything_is_measured_only_the_queues_length_counts() -> None:
    admission = Admission(100, Clock())
    admission.take(50, 0.001)
    admission.take(50, 0.001)
    with pytest.raises(QueueFull) as refused:
        admission.take(1, 0.001)
    assert refused.value.retry_after == 1
