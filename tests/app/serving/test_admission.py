"""Who is let in and who waits, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import inf

import pytest

from app.serving import admission as admission_module
from app.serving.admission import DEADLINE_SHARE, FIRST_BYTES, Admission, Reservation
from app.serving.clients import Client, Clients
from app.serving.errors import NeverFits, QueueFull
from model.inference.plan import Options
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import PLAN_BYTES, WorkerPlan
from model.inference.tiling import TilePlan
from model.inference.views import View
from tests.support.model.doubles import Clock

FAR = 1e6
UNIT = 2 * FIRST_BYTES  # of these tests: 12 give 3 to bodies, and 9 to work and answers
CHECK_S, CHECKED_S = 0.001, 0.05  # between two looks for slow readers, and the time of many of them


def admission_of(tiles: int = 1000, *, workers: int = 100, clock: Clock | None = None, timeout_s: float = inf) -> Admission:
    return Admission(
        max_queued_tiles=tiles, memory_bytes=12 * UNIT, workers=workers, large_places=1, clients=Clients(),
        clock=clock or Clock(), timeout_s=timeout_s,
    )  # fmt: skip


def head(admission: Admission, deadline: float = FAR, sender: str = "", client: Client | None = None) -> Reservation:
    return admission.acquire(client or Client(lambda: 0, lambda: None), sender, deadline)


def arrive(admission: Admission, sender: str = "", deadline: float = FAR) -> Reservation:
    """A request's head and its body."""
    with ExitStack() as stack:
        reservation = stack.enter_context(head(admission, FAR, sender))
        reservation.ask(Blob(), deadline)
        stack.pop_all()
    return reservation


def plan(tiles: int = 1, units: float = 0.1, *, large: bool = False) -> WorkerPlan:
    size, views = (3000, 2000) if large else (1000, 1000), (View(TilePlan((1, 1), (32, 32), (0,) * tiles, (0,), 0, "mean")),)
    return WorkerPlan(size, views, Options(), bytes=int(units * UNIT), decode_seconds=1.0, sha256="")


def begins(reservation: Reservation, work: WorkerPlan) -> bool:
    """Whether the image may begin once this is its plan."""
    reservation.set_plan(work)
    return reservation.is_in_work


def take(
    admission: Admission, tiles: int = 1, deadline: float = FAR, *, units: float = 0.1, large: bool = False, sender: str = ""
) -> Reservation:
    """A request's head, its body, and then its image's plan."""
    with ExitStack() as stack:
        reservation = stack.enter_context(arrive(admission, sender, deadline))
        reservation.set_plan(plan(tiles, units, large=large))
        stack.pop_all()
    return reservation


def do(admission: Admission, clock: Clock, count: int, seconds: float, *, large: bool = False, at_once: int = 1) -> None:
    """So many images are done, one after the other or `at_once` together, each in so many seconds."""
    for _ in range(count // at_once):
        images = [take(admission, large=large) for _ in range(at_once)]
        clock.now += seconds * at_once
        for image in images:
            image.release(1)
            image.close()


def seconds_of(admission: Admission) -> float:
    """The seconds of a small image, as measured."""
    return admission.small.seconds(1)


def test_tiles_are_counted_until_their_image_is_done() -> None:
    admission = admission_of(10)
    seven, three = take(admission, 7), take(admission, 3)
    assert (admission.queued_tiles, len(admission.places)) == (10, 2)
    for _ in range(2):
        seven.close()
    assert (admission.queued_tiles, len(admission.places)) == (3, 1)
    three.release(5)
    assert (admission.queued_tiles, len(admission.places), admission.used_bytes) == (0, 0, 5)


def test_the_tiles_in_the_queue_are_those_of_the_fuller_lane_as_their_limit_is_of_a_lane() -> None:
    admission = admission_of(10)
    take(admission, 7)
    take(admission, 6, large=True)
    assert admission.queued_tiles == 7


def test_more_tiles_or_bytes_than_there_are_never_fit() -> None:
    admission = admission_of(10)
    with pytest.raises(NeverFits, match=r"11 tiles.* 10"):
        take(admission, 11)
    take(admission, units=9)
    with pytest.raises(NeverFits, match=r"smaller.*SEGMENT_MEMORY_MB"):
        take(admission, units=9.01)
    assert len(admission.places) == 1


def test_a_photo_counts_with_the_memory_and_the_seconds_that_the_network_takes_for_it() -> None:
    admission = admission_of(timeout_s=60)
    other, reservation = take(admission, units=2), arrive(admission)
    assert not begins(reservation, replace(plan(), network=(8 * UNIT, 0.5))), "it waits for the memory"
    assert reservation.turn
    assert (reservation.turn.lane, reservation.turn.bytes) == (admission.small, plan().bytes + 8 * UNIT)
    other.close()
    assert reservation.is_in_work
    reservation.close()
    (long := arrive(admission)).set_plan(replace(plan(), network=(0, 20.0)))
    assert long.turn
    assert long.turn.lane is admission.large
    assert admission.large.seconds(long.turn.work) >= 20
    with pytest.raises(NeverFits, match="about 31 s of the network, and an image may take at most 30 s"):
        arrive(admission).set_plan(replace(plan(), network=(0, 31.0)))


def test_a_full_queue_refuses_and_lets_in_again() -> None:
    admission = admission_of(10)
    eight, waiting = take(admission, 8), arrive(admission)
    with pytest.raises(QueueFull, match=r"8 tiles.* 10.* try again later") as error_info, waiting:
        waiting.set_plan(plan(3))
    assert error_info.value.retry_after == 1
    assert len(admission.places) == 1
    take(admission, 2)
    with pytest.raises(QueueFull, match="10 tiles are queued"):
        head(admission)
    eight.close()
    take(admission, 8)


class Slow(Client):
    """A client that has sent so many bytes in ten seconds."""

    def __init__(self, sent_bytes: int, closed: list[int], *, uploading: bool = True) -> None:
        clock = Clock()
        super().__init__(lambda: sent_bytes, lambda: closed.append(sent_bytes), clock)
        with self.waiting():
            clock.now = 10
        self.is_uploading = uploading


def test_at_the_limit_of_requests_the_slowest_upload_makes_room() -> None:
    admission, closed = admission_of(), list[int]()
    admission.max_requests = 2
    requests = [head(admission) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 requests are in progress"):
        head(admission)
    for request in requests:
        request.close()
    admission.max_requests = 3
    uploads = [Slow(10**7, closed), Slow(5 * 10**6, closed), Slow(0, closed, uploading=False)]
    for upload in uploads:
        head(admission, client=upload)
    for _ in range(2):
        head(admission)
    with pytest.raises(QueueFull, match="requests are in progress"):
        head(admission)
    assert closed == [5 * 10**6, 10**7]


def test_the_rate_is_that_of_the_time_in_which_there_are_images() -> None:
    clock, seconds = Clock(), 0.5
    admission = admission_of(clock=clock)
    do(admission, clock, 1000, seconds)
    assert seconds_of(admission) == pytest.approx(seconds, rel=0.01)
    clock.now += 1000
    do(admission, clock, 1, seconds)
    assert seconds_of(admission) == pytest.approx(seconds, rel=0.01)
    for _ in range(100):  # an image that fails does not count, nor its time while it is alone
        with take(admission):
            clock.now += 5
    assert seconds_of(admission) == pytest.approx(seconds, rel=0.01)


def test_the_rate_follows_a_change_and_counts_images_that_are_in_work_together() -> None:
    clock = Clock()
    admission = admission_of(clock=clock)
    do(admission, clock, 1000, 0.05)
    do(admission, clock, 100, 0.5)
    assert seconds_of(admission) == pytest.approx(0.5, rel=0.1)
    do(admission, clock, 800, 0.125, at_once=8)
    assert seconds_of(admission) == pytest.approx(0.125, rel=0.1)
    do(admission, clock, 1, 600)  # the process was paused
    do(admission, clock, 100, 0.05)
    assert seconds_of(admission) < 0.2


def test_the_queue_s_seconds_are_those_of_the_slower_lane() -> None:
    clock = Clock()
    admission = admission_of(clock=clock)
    do(admission, clock, 1000, 0.05)
    assert admission.queue_seconds == 0
    requests = [take(admission) for _ in range(40)]
    assert admission.queue_seconds == pytest.approx(2, rel=0.01)
    do(admission, clock, 200, 7, large=True)  # images of 6 megapixels and a tile
    requests.append(take(admission, large=True))
    assert admission.queue_seconds == pytest.approx(7, rel=0.01)
    for request in requests:
        request.close()
    assert admission.queue_seconds == 0


def test_who_would_be_done_too_near_its_deadline_is_refused_and_told_when_those_before_it_are_done() -> None:
    clock = Clock()
    admission = admission_of(workers=2, clock=clock)
    do(admission, clock, 100, 0.1)
    for _ in range(int(10 * DEADLINE_SHARE / 0.1) - 1):
        arrive(admission, deadline=clock.now + 10)
    for ask in (head, lambda *_: arrive(admission, deadline=clock.now + 10)):
        arrive(admission, deadline=clock.now + 11).close()
        late = arrive(admission, deadline=clock.now + 11)
        with pytest.raises(QueueFull, match=r"50 tiles.* 5\.1 s, too close to its deadline; try again later") as error_info:
            ask(admission, clock.now + 10)
        assert (error_info.value.retry_after, error_info.value.reason) == (5, "deadline")
        late.close()


def test_a_wrong_estimate_lets_as_many_in_as_work_at_once_and_is_corrected_by_them() -> None:
    clock = Clock()
    admission = admission_of(workers=2, clock=clock)
    do(admission, clock, 100, 1000)
    for _ in range(1000):
        images = [take(admission, deadline=clock.now + 60) for _ in range(2)]
        clock.now += 0.02
        for image in images:
            image.release(1)
            image.close()
    for _ in range(100):
        arrive(admission, deadline=clock.now + 60)


def test_small_images_do_not_wait_for_large_ones_nor_find_the_queue_full_of_their_tiles() -> None:
    clock = Clock()
    admission = admission_of(100, workers=200, clock=clock)
    do(admission, clock, 100, 0.02)
    do(admission, clock, 10, 8, large=True)
    for sender in range(4):
        take(admission, 25, units=2, large=True, sender=str(sender))
    with pytest.raises(QueueFull, match="100 tiles are queued"):
        take(admission, large=True)
    for _ in range(100):
        take(admission, units=0.01, deadline=clock.now + 60)
    with pytest.raises(QueueFull, match="100 tiles are queued"):
        head(admission)
    assert admission.queue_seconds > 30


def test_of_large_images_a_sender_waits_for_one_of_each_other_sender_and_for_its_own() -> None:
    clock = Clock()
    admission = admission_of(clock=clock)
    do(admission, clock, 100, 6, large=True)
    for _ in range(20):
        take(admission, large=True, sender="many")
    take(admission, deadline=clock.now + 40, large=True, sender="one")
    with pytest.raises(QueueFull, match=r"30\.0 s, too close"):
        take(admission, deadline=clock.now + 40, large=True, sender="one")
    with pytest.raises(QueueFull, match=r"too close") as error_info:
        take(admission, deadline=clock.now + 60, large=True, sender="many")
    assert error_info.value.retry_after in (126, 127)


def test_bodies_are_refused_beyond_a_quarter_and_corrected_downwards_at_any_time() -> None:
    admission = admission_of()
    one, other = head(admission), head(admission)
    one.set_body(2 * UNIT)
    with pytest.raises(QueueFull, match=r"bodies use .* try again later"):
        other.set_body(UNIT + 1)
    assert admission.used_bytes == 2 * UNIT
    one.set_body(UNIT)
    other.set_body(2 * UNIT)
    assert admission.used_bytes == 3 * UNIT
    for each in (one, other, other):
        each.close()
    assert admission.used_bytes == 0


def test_bodies_work_and_answers_never_pass_the_limit() -> None:
    admission = admission_of()
    answer, body = take(admission, units=2), head(admission)
    answer.release(2 * UNIT)
    body.set_body(3 * UNIT)
    take(admission, units=7)
    assert admission.used_bytes == 12 * UNIT
    waiting = arrive(admission)
    assert not waiting.is_in_work
    answer.close()
    assert waiting.is_in_work
    assert admission.used_bytes == int(10.5 * UNIT)  # it may be planned: it has `FIRST_BYTES`


def test_an_image_has_memory_for_its_plan_and_its_file_and_then_what_its_plan_says() -> None:
    admission = admission_of()
    small, large = head(admission), head(admission)
    for each, work, needed in ((small, plan(units=0.2), int(0.2 * UNIT)), (large, plan(units=0.1, large=True), PLAN_BYTES)):
        each.set_body(2000)
        each.ask(Blob(length=1000), FAR)
        assert FIRST_BYTES >= PLAN_BYTES
        before = admission.used_bytes
        assert begins(each, work)
        assert admission.used_bytes - before == needed + 1000 - FIRST_BYTES - 2000


def test_an_image_that_needs_less_than_it_has_gives_the_rest_to_who_waits_and_one_that_needs_more_waits_for_it() -> None:
    admission = admission_of()
    first, second = take(admission, units=8), arrive(admission)
    waiting, last = head(admission), arrive(admission)
    waiting.set_body(200)
    waiting.ask(Blob(length=100), FAR)
    assert [each.is_in_work for each in (second, waiting, last)] == [True, False, True]
    second.set_plan(plan(units=0.4))
    assert not waiting.is_in_work
    last.set_plan(plan(units=0.1))
    assert waiting.is_in_work
    assert not begins(waiting, plan(units=2))
    assert admission.used_bytes == int(8 * UNIT) + int(0.4 * UNIT) + int(0.1 * UNIT) + 100  # its file is kept
    first.close()
    assert waiting.is_in_work
    assert begins(waiting, plan(units=2))
    assert admission.used_bytes == int(0.4 * UNIT) + int(0.1 * UNIT) + 2 * UNIT + 100


def test_images_wait_in_the_order_of_their_arrival_and_none_passes_one_that_needs_much() -> None:
    clock = Clock()
    admission = admission_of(clock=clock)
    first, large = take(admission, units=5), take(admission, units=6, large=True)
    clock.now += 1
    small = arrive(admission)  # it would fit
    assert not large.is_in_work
    assert not small.is_in_work
    first.close()
    assert large.is_in_work
    assert small.is_in_work


def test_a_large_image_that_waits_for_another_one_keeps_no_small_one_waiting() -> None:
    admission = admission_of()
    first, second = take(admission, large=True), take(admission, large=True)
    assert take(admission).is_in_work
    assert not second.is_in_work
    first.release(1)
    assert second.is_in_work


def test_senders_take_turns_and_one_s_own_images_keep_their_order() -> None:
    admission = admission_of()
    first = take(admission, large=True)
    names = ["many 1", "many 2", "many 3", "one 1", "two 1", "one 2"]
    turns = {name: take(admission, large=True, sender=name[:-2]) for name in names}
    first.close()
    order = []
    while turns:
        (name,) = [name for name, each in turns.items() if each.is_in_work]
        order.append(name)
        turns.pop(name).close()
    assert order == ["many 1", "one 1", "two 1", "many 2", "one 2", "many 3"]


def test_an_image_costs_its_sender_what_its_plan_says() -> None:
    admission = admission_of(workers=1)
    large, *others = (arrive(admission, sender) for sender in ("many tiles", "many tiles", *["one"] * 5))
    large.set_plan(plan(100))
    large.close()
    for other in others[1:]:
        assert other.is_in_work
        other.close()
    assert others[0].is_in_work


@contextmanager
def reader(admission: Admission, moved_bytes: int) -> Iterator[tuple[Reservation, list[int]]]:
    """A reservation of a client for which the service has waited ten seconds; what is appended when it is closed."""
    clock, closed = Clock(), list[int]()
    client = Client(lambda: moved_bytes, lambda: closed.append(moved_bytes), clock)
    with client.waiting(), admission.clients.registered(client), head(admission, client=client) as reservation:
        clock.now = 10
        yield reservation, closed


@pytest.mark.parametrize(
    ("sent_bytes", "units", "is_closed"),
    [(50_000, 3, True), (5_000_000, 3, False), (50_000, 1, False), (50_000, 2, True)],
    ids=["slow", "fast", "room", "first"],
)
def test_a_slow_reader_is_closed_where_others_wait_for_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, sent_bytes: int, units: int, is_closed: bool
) -> None:
    monkeypatch.setattr(admission_module, "CHECK_S", CHECK_S)

    async def ask() -> bool:
        admission = admission_of()
        large = take(admission, units=1, large=True)
        with reader(admission, sent_bytes) as (answer, closed), reader(admission, sent_bytes) as (other, other_closed):
            other.set_body(5)
            # it waits for the answers' quarter, for another large image, or for the bytes that the answer has
            late = head(admission)
            if units == 3:
                answer.release(3 * UNIT)
            late.ask(Blob(), FAR)
            if units < 3:
                answer.release(units * UNIT)
                assert not begins(late, plan(units=8 if units == 2 else 1, large=units == 1))
            waits = asyncio.create_task(late.wait())
            await asyncio.sleep(CHECKED_S)
            assert not waits.done()
            assert not other_closed  # closing it would free no answer
        large.close()
        await waits
        late.close()
        assert admission.used_bytes == 0
        return bool(closed)

    assert asyncio.run(ask()) is is_closed


def test_who_holds_bodies_or_files_slowly_is_closed_when_another_is_refused() -> None:
    admission = admission_of()
    admission.most_files = 10
    with ExitStack() as stack:
        (body, of_body), (files, of_files), (both, fast) = (
            stack.enter_context(reader(admission, moved)) for moved in (0, 0, 10**8)
        )
        (image,) = admission.split(body, 1)  # of a batch
        image.set_body(2 * UNIT)
        both.set_body(UNIT)
        for _ in range(10):
            files.add_file()
        with pytest.raises(QueueFull, match="bodies use"):
            head(admission).set_body(1)
        assert (of_body, of_files) == ([0], [])
        with pytest.raises(QueueFull, match="10 files of batches are open"):
            head(admission).add_file()
        assert (of_body, of_files, fast) == ([0], [0], [])
        with pytest.raises(NeverFits, match="11 or more images above 64 KiB"):
            files.add_file()
    head(admission).add_file()


def test_a_client_that_is_fast_and_then_stops_is_slow_after_some_looks() -> None:
    clients, clock, moved, closed = Clients(), Clock(), [0], list[int]()
    client = Client(lambda: moved[0], lambda: closed.append(moved[0]), clock)
    with client.waiting(), clients.registered(client):
        for second in range(60):
            clock.now, moved[0] = second, min(5_000_000, moved[0] + 500_000)
            clients.close_slow([client])
            if closed:
                break
    assert 10 < clock.now < 40


def test_only_the_time_in_which_the_service_waits_for_a_client_counts() -> None:
    clock = Clock()
    client = Client(lambda: 10, lambda: None, clock)
    for _ in range(100):
        clock.now += 10  # the service works
        with client.waiting(), client.waiting():
            clock.now += 0.04
    assert client.waited_s == pytest.approx(4)
    assert not client.is_slow
