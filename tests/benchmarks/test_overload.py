"""What counts of an overload on a machine whose speed wanders."""

from __future__ import annotations

import pytest

from benchmarks.load import Answer, Load
from benchmarks.overload import Round, told


def load_of(*, good: int, refused: int = 0, milliseconds: float = 100.0, stolen: float = 0.0) -> Load:
    """Answers of one second."""
    answered = [Answer(0, 0.0, 200, milliseconds, right=True)] * good
    return Load([*answered, *[Answer(0, 0.0, 503, 1.0, right=False)] * refused], 0.0, 1.0, 1, 1, 1, 0, 0.0, stolen)


def a_round(before: int, good: int, after: int, *, offered: int = 440, late: bool = False) -> Round:
    milliseconds = 6000.0 if late else 100.0
    overload = load_of(good=good, refused=offered - good, milliseconds=milliseconds)
    return Round(load_of(good=before), overload, load_of(good=after), 100.0)


@pytest.mark.parametrize(("after", "steady"), [(100, True), (110, True), (111, False), (91, True), (90, False)])
def test_a_machine_that_is_a_tenth_faster_or_slower_afterwards_has_changed(after: int, steady: bool) -> None:
    assert a_round(100, 90, after).steady is steady


@pytest.mark.parametrize(("stolen", "steady"), [(0.1, True), (0.11, False)])
@pytest.mark.parametrize("when", range(3))
def test_a_machine_whose_host_took_a_tenth_of_a_core_has_changed(when: int, stolen: float, steady: bool) -> None:
    loads = [load_of(good=100, stolen=stolen if each == when else 0.0) for each in range(3)]
    assert Round(*loads, 100.0).steady is steady


def ratios_of(*rounds: Round) -> dict[str, float]:
    return {ratio.what: ratio.value for ratio in told(list(rounds), 100.0)[1]}


def test_goodput_is_the_median_of_the_times_in_which_the_machine_did_not_change() -> None:
    found = ratios_of(a_round(100, 90, 100), a_round(100, 10, 200), a_round(200, 10, 100), a_round(100, 96, 100))
    assert found["goodput / the most that is answered"] == pytest.approx(0.93)
    assert found["offered / the most that is answered"] == pytest.approx(4.4)


def test_what_is_late_counts_at_all_times() -> None:
    found = ratios_of(a_round(100, 90, 100), a_round(100, 7, 200, late=True))
    assert found["accepted requests past their deadline"] == 7


def test_where_it_always_changed_all_times_count() -> None:
    assert ratios_of(a_round(100, 90, 200))["goodput / the most that is answered"] == pytest.approx(0.6)
