"""What is said of a soak: its slope of memory, what counts as unwanted, and the traffic against a service."""

from __future__ import annotations

from contextlib import closing

import pytest

from benchmarks.benches.soak import MIB, Round, health_checks, slope, summary
from benchmarks.harness.traffic import BUSY, KINDS, NO_ANSWER, Outcome, Traffic
from tests.support.images import encode, make_photo


def rounds_of(*mib: float) -> list[Round]:
    """A thousand requests a round, and the memory after each in MiB."""
    return [Round(1000 * i, each * MIB / 1e6) for i, each in enumerate(mib, 1)]


def test_the_slope_leaves_the_warm_up_out_and_is_the_median_of_pairs() -> None:
    assert slope(rounds_of(10, 200, 300.0, 300.0, 300.0, 300.0)) == pytest.approx(0, abs=1e-6)
    assert slope(rounds_of(0, 0, 300.0, 300.5, 301.0, 301.5)) == pytest.approx(5)
    assert slope(rounds_of(0, 0, 0, 300, 300, 380, 300, 300, 300)) == pytest.approx(0)


def ratios_of(*outcomes: Outcome, health: tuple[float, ...] = (0.01,), failures: int = 0, changes: int = 0) -> list[float]:
    _, ratios = summary(outcomes, rounds_of(1, 1, 1, 1, 1, 1), health, failures, changes)
    return [ratio.value for ratio in ratios if not ratio.holds]


def test_what_is_wanted_holds_and_what_is_not_misses_its_aim() -> None:
    good = [
        Outcome("photo", 200, is_allowed=True),
        Outcome("photo", 503, is_allowed=True),
        Outcome("bomb", 422, is_allowed=True),
    ]
    assert ratios_of(*good) == []
    assert ratios_of(*good, Outcome("photo", 500, is_allowed=False)) == [1, 1]
    assert ratios_of(*good, Outcome("photo", NO_ANSWER, is_allowed=False)) == [1]
    assert ratios_of(*good, health=(0.01, 1.5), failures=2, changes=3) == [3, 2, 1.5]


@pytest.mark.long
def test_every_kind_of_request_is_answered_as_wanted(narrow_url: str) -> None:
    photos = [encode(make_photo(90, 130), format) for format in ("PNG", "JPEG")]
    digests: dict[tuple[int, str], str] = {}
    with closing(Traffic(narrow_url, photos, digests, 1)) as client, health_checks(narrow_url) as (_, good):
        client.stall_s = 0.1
        for kind in KINDS:
            for _ in range(3):
                assert client.outcome(kind).is_allowed, kind
        assert client.changes == 0
        outcomes = client.again(None)
        assert len(outcomes) == len(digests) > 1
        assert all(outcome.is_allowed and outcome.status in BUSY | {200} for outcome in outcomes)
        digests[next(iter(digests))] = "another"
        client.again(None)
        assert client.changes == 1
    assert set(good) == {True}
