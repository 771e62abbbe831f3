"""Reloads that come while one is in progress."""

from __future__ import annotations

import threading
from pathlib import Path

from app.serving.registry import Loader
from app.settings import Settings
from tests.support.polling import HANG_S, wait_until


class SlowRegistry:
    """Counts its loads. Each lasts until `go` is set."""

    def __init__(self) -> None:
        self.models: dict[str, object] = {}
        self.loads = 0
        self.go = threading.Event()

    def load(self) -> None:
        self.loads += 1
        assert self.go.wait(HANG_S)


def reloaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reloader"]


def test_thirty_reloads_are_the_one_in_progress_and_one_more_that_reads_the_last_files(tmp_path: Path) -> None:
    keys, registry = tmp_path / "keys", SlowRegistry()
    keys.write_text("key-0")
    loader = Loader(Settings(api_keys_file=str(keys)), registry, lambda _: None)  # type: ignore[arg-type]
    loader.reload()
    wait_until(lambda: registry.loads == 1)
    for number in range(1, 31):
        keys.write_text(f"key-{number}")
        loader.reload()
    wait_until(lambda: len(reloaders()) == 2)
    assert loader.api_keys == ("key-30",)  # keys do not wait for the weights
    registry.go.set()
    wait_until(lambda: not reloaders())
    assert registry.loads == 2
    loader.reload()
    wait_until(lambda: registry.loads == 3 and not reloaders())
