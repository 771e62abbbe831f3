"""What is read off a load's answers."""

from __future__ import annotations

import pytest

from benchmarks.load import Answer, Load


def answers(*ended: float, status: int = 200, right: bool = True) -> list[Answer]:
    return [Answer(0, when, status, 10.0, right) for when in ended]


def test_the_rate_is_between_the_first_and_the_last_good_answer() -> None:
    mixed = [*answers(10.0, 10.5, 11.0, 11.5, 12.0), *answers(9.0, status=503), *answers(13.0, right=False)]
    found = Load(mixed, 6.0, 1, 1, 1, 0, 0.1)
    assert found.rate == 2.0
    assert found.answered == pytest.approx(5 / 3)
    assert (found.good, found.wrong) == (5, 1)


def test_a_single_answer_is_counted_over_the_whole_time() -> None:
    assert Load(answers(10.0), 4.0, 1, 1, 1, 0, 0.1).rate == 0.25
    assert Load([], 4.0, 1, 1, 1, 0, 0.1).rate == 0
