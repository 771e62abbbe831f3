"""Whose turn is next, by what each client has cost."""

from __future__ import annotations

from collections import Counter

import pytest

from app.serving.fair_queue import FairQueue


def served(queue: FairQueue[tuple[str, float]]) -> tuple[str, float] | None:
    """What was first, with its client and its cost, which is charged; None if nothing waits."""
    if item := queue.first:
        queue.remove(item[0], item)
        queue.charge(*item)
    return item


@pytest.mark.parametrize(
    "costs",
    [{"a": 1, "b": 1}, {"a": 1, "b": 20}, {"a": 1, "b": 3, "c": 400}, {str(i): 1 + i for i in range(30)}],
    ids=["equal", "heavy", "heavier", "many"],
)
def test_clients_that_always_wait_cost_the_same_but_for_one_item(costs: dict[str, float]) -> None:
    queue, got = FairQueue[tuple[str, float]](), Counter[str]()
    for item in costs.items():
        queue.add(item[0], item)
    while sum(got.values()) < 40_000:
        client, cost = served(queue) or pytest.fail("nothing waits")
        got[client] += cost
        queue.add(client, (client, cost))
    assert max(got.values()) - min(got.values()) <= 2 * max(costs.values())


@pytest.mark.parametrize("at_once", [1, 2, 10])
def test_fresh_names_take_no_turn_away_from_who_stays(at_once: int) -> None:
    """So many of them wait always: each comes with one item, and another one follows it."""
    queue, got, names = FairQueue[tuple[str, float]](), Counter[str](), (f"fresh {i}" for i in range(10**6))
    queue.add("heavy", ("heavy", 20.0))
    for _ in range(at_once):
        queue.add(name := next(names), (name, 1.0))
    for _ in range(2000):
        client, cost = served(queue) or pytest.fail("nothing waits")
        got[client.split()[0]] += cost
        name = client if client == "heavy" else next(names)
        queue.add(name, (name, cost))
    assert got["heavy"] >= 0.8 * sum(got.values()) / (at_once + 1)
    assert len(queue._clocks) <= 50 * (at_once + 1)


def test_who_comes_is_behind_who_has_waited_and_before_who_has_had_much() -> None:
    queue = FairQueue[tuple[str, float]]()
    for client in ("heavy", "light"):
        for number in (1.0, 2.0):
            queue.add(client, (client, number))
    queue.charge("heavy", 100)
    queue.add("new", ("new", 1.0))
    assert [served(queue) for _ in range(4)] == [("light", 1.0), ("light", 2.0), ("new", 1.0), ("heavy", 1.0)]


def test_who_was_idle_has_no_credit_and_who_went_away_and_came_back_keeps_its_cost() -> None:
    queue = FairQueue[tuple[str, float]]()
    queue.add("idle", ("idle", 1.0))
    queue.add("a", ("a", 1.0))
    served(queue)
    for _ in range(100):
        queue.add("b", ("b", 1.0))
        served(queue)
        queue.add("a", ("a", 1.0))
        served(queue)
    got = Counter[str]()
    for client in ("idle", "a", "b"):
        for number in range(90):
            queue.add(client, (client, 1 + number / 1000))
    for _ in range(60):
        got[(served(queue) or ("", 0))[0]] += 1
    assert max(got.values()) - min(got.values()) <= 2
    queue.remove("b", next(item for item in queue.items() if item[0] == "b"))
    queue.charge("c", 50)  # as a scene that was planned
    queue.add("c", ("c", 1.0))
    assert [(served(queue) or ("", 0))[0] for _ in range(30)].count("c") == 0


def test_what_waits_before_an_item_is_what_is_done_before_it() -> None:
    queue = FairQueue[tuple[str, float]]()
    for client, count, cost in (("many", 20, 7.0), ("few", 2, 3.0)):
        for number in range(count):
            queue.add(client, (client, cost + number / 1e6), cost)
    expected = queue.before("one", 7.0)
    queue.add("one", ("one", 7.0), 7.0)
    done = 0.0
    while (item := queue.first) and item[0] != "one":
        queue.remove(item[0], item, round(item[1]))
        queue.charge(item[0], round(item[1]))
        done += round(item[1])
    assert expected == pytest.approx(done, abs=7.0)
    assert queue.before("many", 7.0) == pytest.approx(sum(round(item[1]) for item in queue.items()), abs=7.0)


class _Client(str):
    """A client's name that counts how often the queue looks for it."""

    steps = 0

    def __hash__(self) -> int:
        _Client.steps += 1
        return super().__hash__()


@pytest.mark.parametrize("clients", [1, 100], ids=["of one client", "of a client each"])
def test_a_thousand_requests_and_ten_thousand_jobs_cost_no_square(clients: int) -> None:
    """Each call takes at most a step for each client: ten times as many items take at most 12 times the steps."""
    names = [_Client(number) for number in range(clients)]

    def steps(count: int) -> int:
        queue, start = FairQueue[tuple[str, float]](), _Client.steps
        for number in range(count):
            client = names[number % clients]
            queue.before(client, 1.0)
            queue.add(client, (client, 1 + number / 1e6))
        while served(queue):
            pass
        return _Client.steps - start

    few = steps(1000)
    assert few >= 1000
    assert steps(10_000) <= 12 * few
