"""The memory budget: what is refused, what waits and in which order, and which readers are closed."""

from __future__ import annotations

import asyncio

import pytest

from app.serving import budget as budget_module
from app.serving.budget import PLANNING_BYTES, Budget, MemoryUse
from app.serving.errors import QueueFull, TooMuchMemory

UNIT = PLANNING_BYTES  # of these tests: a budget of 12 gives 3 to bodies, 8 to work and 1 to planning
LIMIT = 12 * UNIT
CHECK_S, CHECKED_S = 0.001, 0.05  # between two looks for slow readers, and the time of many of them


def budget_of(limit: int = LIMIT, large_works: int = 1) -> Budget:
    return Budget(limit, large_works)


def working(budget: Budget, units: float, *, large: bool = False) -> MemoryUse:
    use = MemoryUse()
    assert budget.start_now(use, int(units * UNIT), large=large)
    return use


def waiting(budget: Budget, units: float, *, large: bool = False) -> tuple[MemoryUse, asyncio.Task[None]]:
    use = MemoryUse()
    return use, asyncio.create_task(budget.start(use, int(units * UNIT), large=large))


def test_bodies_are_refused_beyond_a_quarter_and_corrected_downwards_at_any_time() -> None:
    budget, one, other = budget_of(), MemoryUse(), MemoryUse()
    budget.hold_body(one, 2 * UNIT)
    with pytest.raises(QueueFull, match="try again later"):
        budget.hold_body(other, UNIT + 1)
    assert (other.body, budget.used_bytes) == (0, 2 * UNIT)
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
    budget, body = budget_of(), MemoryUse()
    answer = working(budget, 2)
    budget.hold_answer(answer, 2 * UNIT)
    budget.hold_body(body, 3 * UNIT)
    work = working(budget, 6)
    assert budget.used_bytes + PLANNING_BYTES == LIMIT
    assert not budget.start_now(MemoryUse(), 1, large=False)
    budget.end(work)
    assert budget.used_bytes == 5 * UNIT


def test_work_waits_in_the_order_of_its_arrival() -> None:
    async def ask() -> None:
        budget = budget_of()
        first = working(budget, 5)
        (_, second), (_, small) = waiting(budget, 4), waiting(budget, 1)
        await asyncio.sleep(0)
        assert not budget.start_now(MemoryUse(), UNIT, large=False)  # it would fit, and must not pass those that wait
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
        assert (given_up.work, next_one.work) == (0, 3 * UNIT)
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
    results: list[bool] = []

    async def ask() -> None:
        budget, now = budget_of(), asyncio.get_running_loop().time()
        large, answer = working(budget, 1, large=True), working(budget, units)
        budget.hold_answer(answer, int(units * UNIT))
        # it waits for the answers' quarter, for another large image, or for the bytes that the answer has
        use, waits = waiting(budget, 7 if units == 2 else 1, large=units == 1)
        with budget.sending(now - 10, lambda: results.append(True)) as sending:
            sending.sent_bytes = sent_bytes
            await asyncio.sleep(CHECKED_S)
        assert not waits.done()
        for each in (answer, large):
            budget.end(each)
        await waits
        budget.end(use)
        assert budget.used_bytes == 0

    asyncio.run(ask())
    assert bool(results) is is_closed


def test_a_reader_that_stops_after_its_first_megabytes_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "CHECK_S", CHECK_S)
    monkeypatch.setattr(budget_module, "SLOW_S", 0.02)

    async def ask() -> None:
        budget, end = budget_of(), asyncio.Event()
        answer = working(budget, 3)
        budget.hold_answer(answer, 3 * UNIT)
        use, waits = waiting(budget, 1)
        with budget.sending(asyncio.get_running_loop().time() - 1, end.set) as sending:
            sending.sent_bytes = 5_000_000  # what the system takes at once
            await asyncio.wait_for(end.wait(), 60)
        budget.end(answer)
        await waits
        budget.end(use)

    asyncio.run(ask())
