"""The memory budget: what is refused, what waits and in which order, and which readers are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.serving import budget as budget_module
from app.serving.budget import PLANNING_BYTES, Budget, planner_count
from app.serving.clients import Client, Clients
from app.serving.errors import QueueFull, TooManyFiles, TooMuchMemory
from app.serving.reservation import Reservation
from model.inference.processes.protocol import PLAN_BYTES
from tests.support.model.doubles import Clock

UNIT = PLANNING_BYTES  # of these tests: a budget of 12 gives 3 to bodies, 8 to work and 1 to planning
LIMIT = 12 * UNIT
CHECK_S, CHECKED_S = 0.001, 0.05  # between two looks for slow readers, and the time of many of them


def budget_of(limit: int = LIMIT, large_works: int = 1, clients: Clients | None = None) -> Budget:
    return Budget(limit, large_works, clients or Clients())


@contextmanager
def reader(clients: Clients, moved_bytes: int, *uses: Reservation) -> Iterator[list[int]]:
    """A client for which the service has waited ten seconds, in which it has moved so many bytes; what its closing appends."""
    clock, closed = Clock(), list[int]()
    client = Client(lambda: moved_bytes, lambda: closed.append(moved_bytes), clock)
    client.reservations.update(uses)
    with client.waiting(), clients.registered(client):
        clock.now = 10
        yield closed


def working(budget: Budget, units: float, *, large: bool = False) -> Reservation:
    use = Reservation()
    assert budget.start_now(use, int(units * UNIT), large=large)
    return use


def waiting(budget: Budget, units: float, *, large: bool = False, client: str = "") -> tuple[Reservation, asyncio.Task[None]]:
    use = Reservation(client)
    return use, asyncio.create_task(budget.start(use, int(units * UNIT), large=large))


def test_bodies_are_refused_beyond_a_quarter_and_corrected_downwards_at_any_time() -> None:
    budget, one, other = budget_of(), Reservation(), Reservation()
    budget.hold_body(one, 2 * UNIT)
    with pytest.raises(QueueFull, match="try again later"):
        budget.hold_body(other, UNIT + 1)
    assert (other.body_bytes, budget.used_bytes) == (0, 2 * UNIT)
    budget.hold_body(one, UNIT)
    budget.hold_body(other, 2 * UNIT)
    assert budget.used_bytes == 3 * UNIT
    for use in (one, other, other):
        budget.end(use)
    assert budget.used_bytes == 0


def test_work_that_could_never_begin_is_refused_and_none_other() -> None:
    budget = budget_of()
    budget.check(8 * UNIT)
    with pytest.raises(TooMuchMemory, match="smaller"):
        budget.check(8 * UNIT + 1)


def test_bodies_work_answers_and_planning_never_pass_the_limit() -> None:
    budget, body = budget_of(), Reservation()
    answer = working(budget, 2)
    budget.hold_answer(answer, 2 * UNIT)
    budget.hold_body(body, 3 * UNIT)
    work = working(budget, 6)
    assert budget.used_bytes + PLANNING_BYTES == LIMIT
    assert not budget.start_now(Reservation(), 1, large=False)
    budget.end(work)
    assert budget.used_bytes == 5 * UNIT


def test_work_that_needs_less_than_it_was_granted_keeps_its_turn_and_gives_the_rest_to_who_waits() -> None:
    async def ask() -> None:
        budget = budget_of()
        work = working(budget, 6)
        _, other = waiting(budget, 4)
        await asyncio.sleep(0)
        assert budget.start_now(work, 2 * UNIT, large=False)
        await other
        assert budget.used_bytes == 6 * UNIT

    asyncio.run(ask())


@pytest.mark.parametrize("large", [False, True])
def test_work_that_needs_more_than_it_was_granted_begins_as_any_other(large: bool) -> None:
    async def ask() -> None:
        budget = budget_of()
        work, other = working(budget, 1), working(budget, 1)
        assert budget.start_now(work, 5 * UNIT, large=large)
        assert (work.work_bytes, work.has_large_work) == (5 * UNIT, large)
        assert not budget.start_now(other, 4 * UNIT, large=False)
        assert other.work_bytes == 0
        budget.end(work)
        budget.end(other)
        assert budget.used_bytes == 0

    asyncio.run(ask())


def test_work_waits_in_the_order_of_its_arrival() -> None:
    async def ask() -> None:
        budget = budget_of()
        first = working(budget, 5)
        (_, second), (_, small) = waiting(budget, 4), waiting(budget, 1)
        await asyncio.sleep(0)
        assert not budget.start_now(Reservation(), UNIT, large=False)  # it would fit, and must not pass those that wait
        await asyncio.sleep(0)
        assert not second.done()
        assert not small.done()
        budget.end(first)
        await asyncio.gather(second, small)
        assert budget.used_bytes == 5 * UNIT

    asyncio.run(ask())


def test_a_large_image_that_waits_for_another_one_keeps_no_small_one_waiting() -> None:
    async def ask() -> None:
        budget = budget_of()
        first = working(budget, 1, large=True)
        _, second = waiting(budget, 1, large=True)
        _, small = waiting(budget, 1)
        await small
        assert not second.done()
        budget.hold_answer(first, 0)
        await second

    asyncio.run(ask())


def test_who_is_cancelled_lets_the_next_one_in_and_leaves_nothing() -> None:
    async def ask() -> None:
        budget = budget_of()
        first = working(budget, 5)
        (given_up, waits), (next_one, small) = waiting(budget, 4), waiting(budget, 3)
        await asyncio.sleep(0)
        waits.cancel()
        await small
        assert (given_up.work_bytes, next_one.work_bytes) == (0, 3 * UNIT)
        budget.end(first)
        budget.end(next_one)
        assert budget.used_bytes == 0

    asyncio.run(ask())


def test_no_work_begins_while_answers_take_a_quarter() -> None:
    async def ask() -> None:
        budget = budget_of()
        answer = working(budget, 3)
        budget.hold_answer(answer, 3 * UNIT)
        _, waits = waiting(budget, 1)
        await asyncio.sleep(0)
        assert not waits.done()
        budget.end(answer)
        await waits

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("sent_bytes", "units", "is_closed"),
    [(50_000, 3, True), (5_000_000, 3, False), (50_000, 1, False), (50_000, 2, True)],
    ids=["slow", "fast", "room", "first"],
)
def test_a_slow_reader_is_closed_where_others_wait_for_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, sent_bytes: int, units: float, is_closed: bool
) -> None:
    monkeypatch.setattr(budget_module, "CHECK_S", CHECK_S)

    async def ask() -> bool:
        clients = Clients()
        budget = budget_of(clients=clients)
        large, answer = working(budget, 1, large=True), working(budget, units)
        budget.hold_answer(answer, int(units * UNIT))
        # it waits for the answers' quarter, for another large image, or for the bytes that the answer has
        use, waits = waiting(budget, 7 if units == 2 else 1, large=units == 1)
        with reader(clients, sent_bytes, answer) as closed, reader(clients, sent_bytes, Reservation(body_bytes=5)) as other:
            await asyncio.sleep(CHECKED_S)
        assert not waits.done()
        assert not other  # closing it would free no answer
        for each in (answer, large):
            budget.end(each)
        await waits
        budget.end(use)
        assert budget.used_bytes == 0
        return bool(closed)

    assert asyncio.run(ask()) is is_closed


def test_a_client_that_is_fast_and_then_stops_is_slow_after_some_looks() -> None:
    clients, clock, moved, closed = Clients(), Clock(), [0], list[int]()
    client = Client(lambda: moved[0], lambda: closed.append(moved[0]), clock)
    client.reservations.add(Reservation(answer_bytes=1))
    with client.waiting(), clients.registered(client):
        for second in range(60):
            clock.now, moved[0] = second, min(5_000_000, moved[0] + 500_000)
            clients.close_slow(lambda use: use.answer_bytes > 0)
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


def test_who_holds_bodies_or_files_slowly_is_closed_when_another_is_refused() -> None:
    clients = Clients()
    budget = budget_of(clients=clients)
    budget.most_files = 10
    body, files = Reservation(), Reservation()
    budget.hold_body(body, 3 * UNIT)
    budget.hold_files(files, 10)
    with reader(clients, 0, body) as of_body, reader(clients, 0, files) as of_files, reader(clients, 10**8, body) as fast:
        with pytest.raises(QueueFull, match="bodies use"):
            budget.hold_body(Reservation(), 1)
        assert (of_body, of_files) == ([0], [])
        with pytest.raises(QueueFull, match="10 files of batches are open"):
            budget.hold_files(Reservation(), 1)
        assert (of_body, of_files, fast) == ([0], [0], [])
    with pytest.raises(TooManyFiles, match="11 or more images above 64 KiB"):
        budget.hold_files(files, 11)
    budget.end(files)
    budget.hold_files(Reservation(), 10)


def test_clients_take_turns_and_one_s_own_images_keep_their_order() -> None:
    async def ask() -> list[str]:
        budget, order = budget_of(), list[str]()
        first = working(budget, 1, large=True)
        names = ["many 1", "many 2", "many 3", "one 1", "two 1", "one 2"]
        turns = {name: waiting(budget, 1, large=True, client=name[:-2]) for name in names}
        await asyncio.sleep(0)
        budget.end(first)
        while turns:
            await asyncio.sleep(0)
            for name, (use, waits) in list(turns.items()):
                if waits.done():
                    order.append(name)
                    del turns[name]
                    budget.end(use)
        return order

    assert asyncio.run(ask()) == ["many 1", "one 1", "two 1", "many 2", "one 2", "many 3"]


def test_an_image_starts_at_once_beside_large_ones_that_wait_for_their_place() -> None:
    async def ask() -> None:
        budget = budget_of()
        working(budget, 1, large=True)
        _, waits = waiting(budget, 1, large=True)
        await asyncio.sleep(0)
        assert budget.start_now(Reservation(), UNIT, large=False)
        assert not budget.start_now(Reservation(), UNIT, large=True)
        waits.cancel()

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("gibibytes", "cores", "planners"), [(0.25, 64, 2), (2, 2, 2), (2, 16, 4), (64, 1, 2), (64, 16, 8), (64, 64, 32)]
)
def test_more_cores_plan_more_images_at_once_as_far_as_memory_allows(gibibytes: float, cores: int, planners: int) -> None:
    limit = int(gibibytes * 2**30)
    assert planner_count(limit, cores) == planners
    budget = Budget(limit, 1, Clients(), planners)
    assert budget.planners == planners
    assert budget.most_work + budget.most_bodies + planners * PLAN_BYTES == limit
