"""Reloads that come while one is in progress."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.serving.registry import Registry
from app.settings import Settings
from tests.support.polling import HANG_S, wait_until


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


def test_thirty_reloads_are_the_one_in_progress_and_one_more_that_reads_the_last_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, loads, go = tmp_path / "keys", list[None](), threading.Event()

    def load(_: Registry) -> None:
        loads.append(None)
        assert go.wait(HANG_S)

    monkeypatch.setattr(Registry, "load", load)
    keys.write_text("key-0")
    registry = Registry(Settings(api_keys_file=str(keys)), lambda *_: None, lambda _: None)
    registry.reload()
    wait_until(lambda: len(loads) == 1)
    for number in range(1, 31):
        keys.write_text(f"key-{number}")
        registry.reload()
    wait_until(lambda: len(loaders()) == 2)
    assert registry.api_keys == ("key-30",)  # keys do not wait for the weights
    go.set()
    wait_until(lambda: not loaders())
    assert len(loads) == 2
    registry.reload()
    wait_until(lambda: len(loads) == 3 and not loaders())
