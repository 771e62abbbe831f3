"""What is said of an overload."""

from __future__ import annotations

import pytest

from benchmarks.benches.overload import Round, summary
from benchmarks.harness.load import Answer, Load


def load_of(*, good: int, refusals: int = 0, wrong: int = 0, milliseconds: float = 100.0) -> Load:
    """Answers of one second."""
    answers = [Answer(0, 0.9, 200, milliseconds, right=True)] * good + [Answer(0, 0.9, 200, 50.0, right=False)] * wrong
    return Load([*answers, *[Answer(0, 0.9, 503, 1.0, right=False)] * refusals], 0.0, 1.0, 1, 0, 0.0)


def a_round(before: int, good: int, after: int, *, wrong: int = 0, late: bool = False) -> Round:
    overload = load_of(good=good, refusals=440 - good - wrong, wrong=wrong, milliseconds=6000.0 if late else 100.0)
    return Round(load_of(good=before), overload, load_of(good=after), 100.0)


def ratios_of(*rounds: Round) -> dict[str, float]:
    return {ratio.what: ratio.value for ratio in summary(list(rounds), 100.0)[1]}


def test_goodput_is_the_median_against_what_is_answered_around_it() -> None:
    ratios = ratios_of(a_round(100, 96, 100), a_round(80, 90, 120), a_round(100, 20, 100))
    assert ratios["goodput / the most that is answered"] == pytest.approx(0.9)
    assert ratios["offered / the most that is answered"] == pytest.approx(4.4 * 0.75)  # of one second, a quarter settles
    assert ratios["median of a refusal / of an answer"] == pytest.approx(0.01)


def test_what_is_late_or_wrong_counts() -> None:
    ratios = ratios_of(a_round(100, 90, 100, wrong=3), a_round(100, 7, 100, late=True))
    assert ratios["accepted requests past their deadline"] == 7
    assert ratios["wrong answers"] == 3
