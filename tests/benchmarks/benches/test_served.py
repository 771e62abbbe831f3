"""What the service is asked and compared with, and what is read off its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.benches import runtimes
from benchmarks.benches.served import cost_of_an_image, timings
from benchmarks.harness.processor_time import ProcessorTime


def test_stages_are_those_of_the_header() -> None:
    header = "decode;dur=1.2, queue;dur=0.0, inference;dur=20.5, encode;dur=2"
    assert timings(header) == {"decode": 1.2, "queue": 0.0, "inference": 20.5, "encode": 2.0}


def test_the_cost_of_an_image_is_the_time_divided_by_the_answers() -> None:
    cost = cost_of_an_image(ProcessorTime(1, 2, 3, 4), 100)
    assert cost == {"in all": 100, "event loop": 10, "network": 20, "workers": 30, "workers, in the system": 40}


def test_a_runtime_that_is_not_there_is_left_out_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runtimes.measure("abacus", 0.1, tmp_path / "maps.npy") is None
    assert "fcn-bench: abacus: KeyError: 'abacus'" in capsys.readouterr().err
