"""Threads for images, which tell how far they are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")


class Pool:
    """`size` threads, started as they are needed. Any thread may call it."""

    def __init__(self, size: int, name: str) -> None:
        self.name = name
        self._executor = ThreadPoolExecutor(size, name)
        self._running: dict[object, None] = {}

    def submit(self, function: Callable[[], R]) -> Future[R]:
        """Its result, made on a thread.

        Raises `RuntimeError` after `stop`, and where a thread cannot be started: one that is there already may then do it
        all the same, for nobody.
        """

        def call() -> R:
            token = object()
            self._running[token] = None
            try:
                return function()
            finally:
                del self._running[token]

        return self._executor.submit(call)

    def running(self) -> list[object]:
        """A token for each call that a thread is at; the same for as long as the call takes."""
        return list(self._running)

    def stop(self) -> None:
        """Takes no more and cancels what has not begun; does not wait for what has."""
        self._executor.shutdown(wait=False, cancel_futures=True)
