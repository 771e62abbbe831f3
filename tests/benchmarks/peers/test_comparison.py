"""The comparison with other frameworks: what ratios say, and a run against a server of our own."""

from __future__ import annotations

import sys

import pytest

from benchmarks.harness.load import Answer, Load, available
from benchmarks.peers import comparison
from benchmarks.peers.comparison import OURS, Peer, has_package, ratios, run

STDLIB = Peer("standard library", "http.server", "tests.support.benchmarks.peer_server", "/health")


def turn(rate: int, p99: float) -> Load:
    return Load([Answer(-1, 2.0, 200, -1, right=True)] * rate, 0.0, 4 / 3, p99, 0, 0.0)


def test_ratios_compare_within_each_turn() -> None:
    comparisons = ratios({OURS: [turn(30, 10), turn(60, 5), turn(10, 90)], "other": [turn(20, 20), turn(20, 20), turn(20, 20)]})
    assert [(ratio.what, ratio.value, ratio.at_least) for ratio in comparisons] == [
        ("throughput, ours / other", pytest.approx(1.5), 1.0),
        ("p99, other / ours", pytest.approx(2.0), 1.0),
    ]


def test_a_framework_that_is_not_installed_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Peer("Abacus", "abacus", "abacus", "/")
    assert not has_package(missing, sys.executable)
    assert "Abacus is not installed in" in capsys.readouterr().err
    monkeypatch.setattr(comparison, "PEERS", (missing,))
    with pytest.raises(RuntimeError, match="none of Abacus is installed"):
        run(quick=True, python=sys.executable)


@pytest.mark.long
@pytest.mark.skipif(not available(), reason="wrk is not installed")
def test_a_server_that_holds_our_segmenter_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "PEERS", (STDLIB,))
    section = run(quick=True, python=sys.executable)
    rows = {row.what: row.median for row in section.rows}
    assert min(rows[OURS], rows[STDLIB.name], rows[f"{STDLIB.name}, p99"], rows[f"{STDLIB.name}, memory"]) > 0
    assert [ratio.what for ratio in section.ratios] == [f"throughput, ours / {STDLIB.name}", f"p99, {STDLIB.name} / ours"]
