"""What is read off a load's answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.load import Answer, Load


def answers(*ended: float, status: int = 200, right: bool = True) -> list[Answer]:
    return [Answer(0, when, status, 10.0, right) for when in ended]


def found(given: list[Answer]) -> Load:
    """A load that began at 100 and took 8 seconds."""
    return Load(given, 100.0, 8.0, 1, 1, 1, 0, 0.1)


def test_the_rate_is_that_of_the_good_answers_once_the_load_has_settled() -> None:
    mixed = [*answers(101.0, 101.9), *answers(102.0, 104.0, 107.9), *answers(103.0, status=503), *answers(105.0, right=False)]
    assert found(mixed).rate == 3 / 6
    assert found(mixed).answered == 4 / 6
    assert (found(mixed).good, found(mixed).wrong) == (5, 1)


def test_a_load_that_never_settles_is_counted_whole() -> None:
    assert found(answers(100.5, 101.0)).rate == 2 / 8


def test_without_answers_the_rate_is_nothing() -> None:
    assert found([]).rate == 0


def test_what_the_generator_and_the_host_take_of_the_cores_is_made_up_for() -> None:
    taken = replace(found(answers(102.0, 104.0, 107.9)), cpu_seconds=0.8, stolen_seconds=1.6)
    assert (taken.cores, taken.stolen) == (0.1, 0.2)
    assert taken.on_all(4) == pytest.approx(0.5 * 4 / 3.7)
