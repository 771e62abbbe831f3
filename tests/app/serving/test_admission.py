"""Who is let in, on a clock of the test's own."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import pytest

from app.serving.admission import DEADLINE_SHARE, FRESH_S, HEAD_S, Admission
from app.serving.clients import LEAST_RATE, Client, Clients
from app.serving.errors import QueueFull, TooManyTiles
from app.serving.rates import LEAST_MEGAPIXELS, UNKNOWN_SECONDS, Kind, WorkerSeconds
from app.serving.reservation import Reservation
from model.inference.errors import Cancelled
from tests.support.model.doubles import Clock

FAR = 1e6
PER_MEGAPIXEL = 0.01  # seconds of a worker that `estimating` learns


def reserve(admission: Admission, deadline: float, sender: str = "") -> Reservation:
    reservation = Reservation(sender)
    admission.reserve(reservation, deadline)
    return reservation


def estimating(admission: Admission) -> Admission:
    """The admission, which has learned how long workers need for images of one format."""
    for large in (False, True):
        admission.worker_seconds.learn(Kind(large), 100, 100 * PER_MEGAPIXEL)
    admission.worker_seconds.of_small_image = 0
    return admission


def take(
    admission: Admission, tiles: int, deadline: float = FAR, *, seconds: float = 0.0, large: bool = False, client: str = ""
) -> Reservation:
    """A request's head, its body, and then its image's plan."""
    reservation = reserve(admission, FAR, client)
    admission.arrive(reservation)
    try:
        admission.admit(reservation, tiles, deadline, Kind(large), seconds / PER_MEGAPIXEL)
    except BaseException:
        admission.release(reservation)
        raise
    return reservation


def work(admission: Admission, clock: Clock, seconds: float, tiles: int, *, at_once: bool = False) -> None:
    """The network does so many tiles in so many seconds, one after the other or all at the end."""
    for _ in range(1 if at_once else tiles):
        for _ in range(tiles if at_once else 1):
            admission.tile_rate.begin()
        clock.now += seconds if at_once else seconds / tiles
        for _ in range(tiles if at_once else 1):
            admission.tile_rate.end(is_done=True)


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
        admission.release(seven)
    assert (admission.queued_tiles, admission.requests) == (3, 1)
    admission.count_tile(seven)
    admission.release(three)
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
        reserve(admission, FAR)
    admission.release(eight)
    take(admission, 8)


def test_a_burst_of_heads_does_not_all_pass() -> None:
    admission = Admission(10, Clock())
    take(admission, 7)
    for _ in range(3):
        reserve(admission, FAR)
    with pytest.raises(QueueFull, match="10 tiles are queued"):
        reserve(admission, FAR)


def test_at_a_measured_rate_a_burst_of_heads_passes_until_the_deadline_is_near() -> None:
    admission, clock = after_work(10.0, 100)
    take(admission, 1)
    for _ in range(int(10 * DEADLINE_SHARE * 10) - 1):
        reserve(admission, clock.now + 10)
    with pytest.raises(QueueFull, match="too close to its deadline"):
        reserve(admission, clock.now + 10)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [(0, HEAD_S), (1, HEAD_S), (0.9 * HEAD_S * LEAST_RATE, HEAD_S), (FRESH_S * LEAST_RATE, FRESH_S)],
    ids=["head alone", "first byte", "slow", "fast"],
)
def test_an_upload_counts_as_a_tile_while_it_has_just_begun_or_is_fast(body: float, seconds: float) -> None:
    clock = Clock()
    admission = Admission(4, clock)
    take(admission, 2)
    for _ in range(2):
        reserve(admission, FAR).body_bytes = int(body)
    clock.now += 0.9 * seconds
    with pytest.raises(QueueFull, match="4 tiles are queued"):
        reserve(admission, FAR)
    clock.now += 0.2 * seconds
    reserve(admission, FAR)


class Slow(Client):
    """A client that has sent so many bytes in ten seconds."""

    def __init__(self, sent_bytes: int, closed: list[int], *, uploading: bool = True) -> None:
        clock = Clock()
        super().__init__(lambda: sent_bytes, lambda: closed.append(sent_bytes), clock)
        with self.waiting():
            clock.now = 10
        self.uploading = uploading
        self.reservations.add(Reservation())


def test_at_the_limit_of_requests_the_slowest_upload_makes_room() -> None:
    clients, closed = Clients(), list[int]()
    admission = Admission(1000, Clock(), clients=clients)
    admission.max_requests = 2
    for _ in range(2):
        reserve(admission, FAR)
    with pytest.raises(QueueFull, match="2 requests are in progress"):
        reserve(admission, FAR)
    uploads = [Slow(10**7, closed), Slow(5 * 10**6, closed), Slow(0, closed, uploading=False)]
    with ExitStack() as stack:
        for upload in uploads:
            stack.enter_context(clients.registered(upload))
        reserve(admission, FAR)
        reserve(admission, FAR)
        with pytest.raises(QueueFull, match="requests are in progress"):
            reserve(admission, FAR)
    assert closed == [5 * 10**6, 10**7]


def test_a_request_that_has_arrived_counts_however_long_it_waits_to_be_planned() -> None:
    clock = Clock()
    admission = Admission(2, clock)
    for _ in range(2):
        reservation = reserve(admission, FAR)
        for _ in range(2):
            admission.arrive(reservation)
    clock.now += 10 * FRESH_S
    assert (admission.queued_tiles, admission.requests) == (2, 2)
    with pytest.raises(QueueFull, match="2 tiles are queued"):
        reserve(admission, FAR)


def test_what_is_refused_once_it_is_planned_counts_as_before() -> None:
    admission = Admission(10, Clock())
    take(admission, 8)
    reservation = reserve(admission, FAR)
    admission.arrive(reservation)
    with pytest.raises(QueueFull):
        admission.admit(reservation, 3, FAR, Kind(large=False), 0)
    assert (admission.queued_tiles, admission.requests) == (9, 2)
    admission.release(reservation)
    assert (admission.queued_tiles, admission.requests) == (8, 1)


def test_a_reservation_that_was_given_back_is_not_admitted_afterwards() -> None:
    admission = Admission(10, Clock())
    reservation = reserve(admission, FAR)
    admission.release(reservation)
    with pytest.raises(Cancelled):
        admission.admit(reservation, 3, FAR, Kind(large=False), 0)
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
def test_the_rate_is_that_of_the_time_in_which_the_network_has_tiles(seconds: float, tiles: int, rate: float) -> None:
    admission, clock = after_work(seconds, tiles)
    assert admission.tile_rate.per_second == pytest.approx(rate, rel=0.01)
    clock.now += 1000
    work(admission, clock, 1 / rate, 1)
    assert admission.tile_rate.per_second == pytest.approx(rate, rel=0.01)


def test_the_queue_s_seconds_are_those_of_the_slower_resource_and_0_before_there_is_a_rate() -> None:
    fresh = Admission(100, Clock())
    take(fresh, 40)
    assert fresh.queue_seconds == 0
    admission, _ = after_work(5, 100)
    assert admission.queue_seconds == 0
    requests = [take(admission, 30), take(admission, 10)]
    assert admission.queue_seconds == pytest.approx(40 / 20, rel=0.01)
    estimating(admission)
    requests.append(take(admission, 1, seconds=10))  # of two workers
    assert admission.queue_seconds == pytest.approx(5, rel=0.01)
    requests.append(take(admission, 1, seconds=17, large=True))
    assert admission.queue_seconds == pytest.approx(17, rel=0.01)
    for request in requests:
        admission.release(request)
    assert admission.queue_seconds == 0


def test_the_rate_follows_a_change() -> None:
    admission, clock = after_work(50, 1000)
    work(admission, clock, 50, 100)
    assert admission.tile_rate.per_second == pytest.approx(2, rel=0.1)
    work(admission, clock, 90, 30)
    assert admission.tile_rate.per_second == pytest.approx(1 / 3, rel=0.1)


def test_a_tile_that_was_given_up_does_not_count_nor_its_time_while_it_was_alone() -> None:
    admission, clock = after_work(5, 100)
    for _ in range(100):
        admission.tile_rate.begin()
        clock.now += 5
        admission.tile_rate.end(is_done=False)
    assert admission.tile_rate.per_second == pytest.approx(20, rel=0.01)


def test_a_process_that_was_paused_is_not_taken_for_a_slow_one() -> None:
    admission, clock = after_work(50, 1000)
    work(admission, clock, 600, 1)
    assert admission.tile_rate.per_second is not None
    assert admission.tile_rate.per_second > 14


def test_a_pause_before_anything_is_measured_is_soon_forgotten() -> None:
    admission, clock = after_work(0.5, 10)
    work(admission, clock, 600, 1)
    work(admission, clock, 20, 400)
    assert admission.tile_rate.per_second == pytest.approx(20, rel=0.2)


def test_a_batch_counts_as_its_tiles_one_after_the_other() -> None:
    admission, clock = after_work(50, 250)
    for _ in range(100):
        work(admission, clock, 1, 8, at_once=True)
    assert admission.tile_rate.per_second == pytest.approx(8, rel=0.05)


def test_retry_after_is_how_long_those_take_that_come_first() -> None:
    admission, clock = after_work(50, 1000, limit=100)
    for _ in range(100):
        take(admission, 1)
    with pytest.raises(QueueFull) as error_info:
        reserve(admission, FAR)
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
        reserve(admission, 0.001)
    assert error_info.value.retry_after == 1


def test_small_images_do_not_wait_for_what_large_ones_take_of_workers_and_of_the_network() -> None:
    admission, clock = after_work(50, 1000)
    estimating(admission)
    for client in range(12):  # flat images of a hundred megapixels, whose answers take seconds
        take(admission, 50, seconds=8, large=True, client=str(client))
    for _ in range(160):
        take(admission, 1, clock.now + 60, seconds=0.02)
    with pytest.raises(QueueFull, match="too close to its deadline"):
        take(admission, 1, clock.now + 60, seconds=8, large=True)
    assert admission.queue_seconds > 30


def test_tiles_of_large_images_that_fill_the_queue_leave_room_for_small_ones() -> None:
    admission = Admission(100, Clock())
    take(admission, 100, large=True)
    with pytest.raises(QueueFull, match="100 tiles are queued"):
        take(admission, 1, large=True)
    for _ in range(100):
        take(admission, 1)
    with pytest.raises(QueueFull, match="100 tiles are queued"):
        reserve(admission, FAR)


def test_the_seconds_of_workers_refuse_what_the_network_would_not() -> None:
    clock = Clock()
    admission = estimating(Admission(1000, clock, workers=3))
    for _ in range(43):
        take(admission, 1, clock.now + 60, seconds=2)
    with pytest.raises(QueueFull, match=r"30\.7 s, too close") as error_info:
        take(admission, 1, clock.now + 60, seconds=2)
    assert error_info.value.retry_after == 29


def test_a_wrong_estimate_of_workers_lets_as_many_in_as_work_at_once_and_is_corrected_by_them() -> None:
    clock = Clock()
    admission = Admission(1000, clock, workers=2)
    kind = Kind(large=False)
    admission.worker_seconds.learn(kind, 1.0, 1000.0)

    def ask() -> Reservation:
        return take(admission, 1, clock.now + 60)

    for _ in range(100):
        first, second = ask(), ask()
        for each in (first, second):
            admission.release(each)
            admission.worker_seconds.learn(kind, 1.0, 0.01)
    for _ in range(100):
        ask()


def test_what_one_kind_of_image_takes_says_nothing_of_another() -> None:
    seconds = WorkerSeconds()
    polygons, masks = Kind(large=False, format="json", mask="polygons"), Kind(large=False)
    for _ in range(100):
        seconds.learn(polygons, 2.0, 6.0)
    seconds.learn(masks, 1.0, 0.02)
    assert seconds.expected(polygons, 1.0) == pytest.approx(3)
    assert seconds.expected(masks, 4.0) == pytest.approx(0.08)
    assert seconds.expected(masks, 0.0) == pytest.approx(0.02 * LEAST_MEGAPIXELS)
    assert seconds.expected(Kind(large=False, format="npz"), 4.0) == seconds.of_small_image
    assert seconds.expected(Kind(large=True), 100.0) == 100 * UNKNOWN_SECONDS


def test_of_large_images_a_client_waits_for_one_of_each_other_client_and_for_its_own() -> None:
    clock = Clock()
    admission = estimating(Admission(1000, clock))
    for _ in range(20):
        take(admission, 1, seconds=6, large=True, client="many")
    take(admission, 1, clock.now + 30, seconds=0.1, large=True, client="one")
    with pytest.raises(QueueFull, match=r"12\.2 s, too close"):
        take(admission, 1, clock.now + 24, seconds=0.1, large=True, client="one")
    with pytest.raises(QueueFull, match=r"too close") as error_info:
        take(admission, 1, clock.now + 60, seconds=6, large=True, client="many")
    assert error_info.value.retry_after == 121


def test_large_images_of_many_clients_are_refused_early() -> None:
    clock, admitted = Clock(), 0
    admission = estimating(Admission(1000, clock))
    for client in range(20):
        with suppress(QueueFull):
            take(admission, 1, clock.now + 60, seconds=6, large=True, client=str(client))
            admitted += 1
    assert admitted == 5
