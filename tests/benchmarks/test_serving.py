"""Servers under measurement: what becomes of those that do not come up."""

from __future__ import annotations

import sys

import pytest

from benchmarks import serving
from benchmarks.serving import free_port, started


@pytest.mark.parametrize(
    ("program", "patience", "words"), [("pass", 60, "ended"), ("import time; time.sleep(60)", 1, "did not answer in 1 s")]
)
def test_a_server_that_does_not_come_up_is_told(
    program: str, patience: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PATIENCE_S", patience)
    with pytest.raises(RuntimeError, match=words), started([sys.executable, "-c", program], free_port(), "/"):
        pass
