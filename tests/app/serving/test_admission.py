"""Who is let in, on a clock of the test's own."""

from __future__ import annotations

import pytest

from app.serving import admission as admission_module
from app.serving.admission import DEADLINE_SHARE, FRESH_S, Admission, Reservation
from app.serving.errors import QueueFull, TooManyTiles
from model.inference.errors import Cancelled
from tests.support.model.doubles import Clock

FAR = 1e6


def take(admission: Admission, tiles: int, deadline: float = FAR) -> Reservation:
    """A request's head, its body, and then its image's plan."""
    reservation = admission.reserve(FAR)
    admission.arrive(reservation)
    try:
        admission.admit(reservation, tiles, deadline)
    except BaseException:
        admission.release(reservation, is_done=False)
        raise
    return reservation


def work(admission: Admission, clock: Clock, seconds: float, tiles: int, *, at_once: bool = False) -> None:
    """Admits so many tiles and does them in so many seconds, one after the other or as one image's."""
    images, of = (1, tiles) if at_once else (tiles, 1)
    for _ in range(images):
        reservation = take(admission, of)
        clock.now += seconds / images
        admission.release(reservation, is_done=True)


def after_work(seconds: float, tiles: int, limit: int = 1000) -> tuple[Admission, Clock]:
    """An admission that has seen this much work, one tile after the other."""
    clock = Clock()
    admission = Admission(limit, clock)
    work(admission, clock, seconds, tiles)
    return admission, clock


def test_tiles_are_counted_until_they_are_given_back_and_the_last_one_until_release() -> None:
    admission = Admission(10, Clock())
    seven, three = take(admission, 7), take(admission, 3)
    assert (admission.queued_tiles, admission.requests) == (10, 2)
    for _ in range(9):
        admission.count_tile(seven)
    assert admission.queued_tiles == 1 + 3
    for _ in range(2):
        admission.release(seven, is_done=True)
    assert (admission.queued_tiles, admission.requests) == (3, 1)
    admission.count_tile(seven)
    admission.release(three, is_done=False)
    assert (admission.queued_tiles, admission.requests) == (0, 0)


def test_more_tiles_than_could_ever_wait_are_too_many() -> None:
    with pytest.raises(TooManyTiles, match=r"11 tiles.* 10"):
        take(Admission(10, Clock()), 11)


def test_a_full_queue_refuses_and_lets_in_again() -> None:
    admission = Admission(10, Clock())
    eight = take(admission, 8)
    with pytest.raises(QueueFull, match=r"8 tiles.* 10"):
        take(admission, 3)
    assert admission.requests == 1
    take(admission, 2)
    with pytest.raises(QueueFull, match="10 tiles are queued"):
        admission.reserve(FAR)
    admission.release(eight, is_done=True)
    take(admission, 8)


def test_a_burst_of_heads_does_not_all_pass() -> None:
    admission = Admission(10, Clock())
    take(admission, 7)
    for _ in range(3):
        admission.reserve(FAR)
    with pytest.raises(QueueFull, match="10 tiles are queued"):
        admission.reserve(FAR)


def test_at_a_measured_rate_a_burst_of_heads_passes_until_the_deadline_is_near() -> None:
    admission, clock = after_work(10.0, 100)
    take(admission, 1)
    for _ in range(int(10 * DEADLINE_SHARE * 10) - 1):
        admission.reserve(clock.now + 10)
    with pytest.raises(QueueFull, match="too close to its deadline"):
        admission.reserve(clock.now + 10)


def test_slow_uploads_keep_others_out_only_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(admission_module, "MAX_UPLOADS", 3)
    admission = Admission(4, clock)
    for _ in range(2):
        admission.reserve(FAR)
    take(admission, 2)
    with pytest.raises(QueueFull):
        admission.reserve(FAR)
    clock.now += FRESH_S
    admission.reserve(FAR)
    clock.now += FRESH_S
    with pytest.raises(QueueFull, match="3 uploads are in progress"):
        admission.reserve(FAR)


def test_a_request_that_has_arrived_counts_however_long_it_waits_to_be_planned() -> None:
    clock = Clock()
    admission = Admission(2, clock)
    for _ in range(2):
        reservation = admission.reserve(FAR)
        for _ in range(2):
            admission.arrive(reservation)
    clock.now += 10 * FRESH_S
    assert (admission.queued_tiles, admission.requests) == (2, 2)
    with pytest.raises(QueueFull, match="2 tiles are queued"):
        admission.reserve(FAR)


def test_what_is_refused_once_it_is_planned_counts_as_before() -> None:
    admission = Admission(10, Clock())
    take(admission, 8)
    reservation = admission.reserve(FAR)
    admission.arrive(reservation)
    with pytest.raises(QueueFull):
        admission.admit(reservation, 3, FAR)
    assert (admission.queued_tiles, admission.requests) == (9, 2)
    admission.release(reservation, is_done=False)
    assert (admission.queued_tiles, admission.requests) == (8, 1)


def test_a_reservation_that_was_given_back_is_not_admitted_afterwards() -> None:
    admission = Admission(10, Clock())
    reservation = admission.reserve(FAR)
    admission.release(reservation, is_done=False)
    with pytest.raises(Cancelled):
        admission.admit(reservation, 3, FAR)
    assert (admission.queued_tiles, admission.requests) == (0, 0)


@pytest.mark.parametrize("tiles", [1, 2])
def test_a_tile_comes_after_one_of_each_other_request(tiles: int) -> None:
    admission, clock = after_work(10.0, 100)  # ten a second
    for of in (1, 5, 5):
        take(admission, of)
    seconds = ({1: 3, 2: 5}[tiles] + tiles) / 10 / DEADLINE_SHARE
    with pytest.raises(QueueFull):
        take(admission, tiles, clock.now + seconds - 0.1)
    take(admission, tiles, clock.now + seconds + 0.1)


@pytest.mark.parametrize(("seconds", "tiles", "rate"), [(5.0, 100, 20.0), (50.0, 100, 2.0)])
def test_the_rate_is_that_of_busy_time(seconds: float, tiles: int, rate: float) -> None:
    admission, clock = after_work(seconds, tiles)
    assert admission.tiles_per_second == pytest.approx(rate, rel=0.01)
    clock.now += 1000
    work(admission, clock, 1 / rate, 1)
    assert admission.tiles_per_second == pytest.approx(rate, rel=0.01)


def test_the_queue_s_seconds_are_its_tiles_at_the_rate_and_0_before_there_is_one() -> None:
    fresh = Admission(100, Clock())
    take(fresh, 40)
    assert fresh.queue_seconds == 0
    admission, _ = after_work(5, 100)
    assert admission.queue_seconds == 0
    requests = take(admission, 30), take(admission, 10)
    assert admission.queue_seconds == pytest.approx(40 / 20, rel=0.01)
    for request in requests:
        admission.release(request, is_done=False)
    assert admission.queue_seconds == 0


def test_the_rate_follows_a_change() -> None:
    admission, clock = after_work(50, 1000)
    work(admission, clock, 50, 100)
    assert admission.tiles_per_second == pytest.approx(2, rel=0.1)
    work(admission, clock, 90, 30)
    assert admission.tiles_per_second == pytest.approx(1 / 3, rel=0.1)


def test_a_minute_of_images_that_fail_leaves_the_rate_as_it_was_and_keeps_no_one_out() -> None:
    admission, clock = after_work(10, 400)
    failing = [take(admission, 1) for _ in range(4)]
    for _ in range(6000):
        clock.now += 0.01
        admission.release(failing.pop(0), is_done=False)
        failing.append(take(admission, 1))
    good = take(admission, 1, clock.now + 1)
    clock.now += 1 / 40
    admission.release(good, is_done=True)
    assert admission.tiles_per_second == pytest.approx(40, rel=0.02)
    take(admission, 100, clock.now + 60)


def test_images_that_fail_beside_others_make_those_seem_no_faster() -> None:
    admission, clock = after_work(10, 200)
    for _ in range(200):
        good = take(admission, 1)
        for _ in range(10):
            failing = take(admission, 1)
            clock.now += 0.005
            admission.release(failing, is_done=False)
        admission.release(good, is_done=True)
    assert admission.tiles_per_second == pytest.approx(20, rel=0.01)


def test_time_of_what_was_given_up_does_not_count() -> None:
    admission, clock = after_work(5, 100)
    given_up = take(admission, 500)
    clock.now += 5
    admission.release(given_up, is_done=False)
    assert admission.tiles_per_second == pytest.approx(20, rel=0.01)


def test_a_process_that_was_paused_is_not_taken_for_a_slow_one() -> None:
    admission, clock = after_work(50, 1000)
    reservation = take(admission, 200)
    clock.now += 600
    admission.count_tile(reservation)
    assert admission.tiles_per_second is not None
    assert admission.tiles_per_second > 14


def test_a_pause_before_anything_is_measured_is_soon_forgotten() -> None:
    admission, clock = after_work(0.5, 10)
    reservation = take(admission, 1)
    clock.now += 600
    admission.release(reservation, is_done=True)
    work(admission, clock, 20, 400)
    assert admission.tiles_per_second == pytest.approx(20, rel=0.2)


def test_a_long_time_of_work_fades_as_fast_as_a_short_one() -> None:
    admission, clock = after_work(50, 250)
    work(admission, clock, 100, 500, at_once=True)
    work(admission, clock, 10, 200)
    assert admission.tiles_per_second == pytest.approx(14.5, rel=0.1)


def test_retry_after_is_how_long_those_take_that_come_first() -> None:
    admission, clock = after_work(50, 1000, limit=100)
    for _ in range(100):
        take(admission, 1)
    with pytest.raises(QueueFull) as error_info:
        admission.reserve(FAR)
    assert error_info.value.retry_after == 5
    admission, clock = after_work(50, 600)
    take(admission, 800)
    for _ in range(22):
        take(admission, 1)
    with pytest.raises(QueueFull) as error_info:
        take(admission, 1, clock.now + 1)
    assert error_info.value.retry_after == 2


def test_who_has_more_tiles_than_time_is_told_how_many_seconds_are_lacking() -> None:
    admission, clock = after_work(50, 600)
    for _ in range(5):
        take(admission, 1)
    with pytest.raises(QueueFull, match=r"5 tiles.* 58\.\d s") as error_info:
        take(admission, 700, clock.now + 60)
    assert error_info.value.retry_after == 29


def test_a_huge_image_keeps_no_small_one_out_since_they_take_turns() -> None:
    admission, clock = after_work(50, 600)
    take(admission, 800)
    for _ in range(50):
        take(admission, 1, clock.now + 10)
    with pytest.raises(QueueFull, match=r"850 tiles are queued"):
        take(admission, 149, clock.now + 30)


def test_an_image_that_comes_to_an_empty_queue_may_try() -> None:
    admission, clock = after_work(50, 100)
    take(admission, 500, clock.now + 1)
    assert admission.queued_tiles == 500


def test_before_anything_is_measured_only_the_queues_length_counts() -> None:
    admission = Admission(100, Clock())
    take(admission, 50, 0.001)
    take(admission, 50, 0.001)
    with pytest.raises(QueueFull) as error_info:
        admission.reserve(0.001)
    assert error_info.value.retry_after == 1
