"""Threads of which the first that is idle takes the next job."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

from model.cores import keep_to_core

P = ParamSpec("P")
T = TypeVar("T")


class Waiting(NamedTuple):
    """A job that no thread has taken yet."""

    future: Future[Any]
    call: Callable[[], Any]
    since: float


class Workers:
    """So many threads that take jobs in the order in which they come; of those that are idle, the first takes it.

    Who is asked one thing after another is so answered by one thread, in whose core's caches and in whose memory the last
    answer's pixels were, and which has helpers for large steps. own_cores: each thread keeps to a core, where they are as
    many: one that waited for the interpreter is else put behind another thread, while its core is idle.
    """

    def __init__(
        self, count: int, name: str, initializer: Callable[[], None], *, own_cores: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._begun = initializer
        self._clock = clock
        self._own_cores = own_cores
        self._threads = [ThreadPoolExecutor(1, f"{name}-{i}", self._begin, (i,)) for i in range(count)]
        self._lock = threading.Lock()
        self._idle = list(range(count))
        self._waiting: deque[Waiting] = deque()
        self._first: int | None = None
        self._closed = False

    @property
    def first(self) -> bool:
        """Whether the caller is the first of the threads."""
        return self._first == threading.get_ident()

    @property
    def delay_s(self) -> float:
        """For how long the first in line has waited; 0.0 where fewer wait than there are threads."""
        with self._lock:
            deep = len(self._waiting) >= len(self._threads)
            return self._clock() - self._waiting[0].since if deep else 0.0

    def start(self, future: Future[T], call: Callable[[], T]) -> None:
        """What comes of the call goes to the future, which can be cancelled until a thread takes it."""
        with self._lock:
            closed, thread = self._closed, None
            if not closed:
                self._waiting.append(Waiting(future, call, self._clock()))
                thread = heapq.heappop(self._idle) if self._idle else None
        if closed:
            future.cancel()
        if thread is not None:
            self._take_next(thread)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """`start` with a future of the call's own."""
        future: Future[T] = Future()
        self.start(future, partial(function, *args, **kwargs))
        return future

    def shutdown(self) -> None:
        """Cancels what waits for a thread, and what comes later; what runs goes on."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.future.cancel()
        for thread in self._threads:
            thread.shutdown(wait=False)

    def _begin(self, thread: int) -> None:
        if not thread:
            self._first = threading.get_ident()
        if self._own_cores:
            keep_to_core(thread, len(self._threads))
        self._begun()

    def _take_next(self, thread: int) -> None:
        with self._lock:
            job = self._next()
            running = self._threads[thread].submit(job.call) if job else None
            if not job:
                heapq.heappush(self._idle, thread)
        if job and running:
            running.add_done_callback(partial(self._ended, thread, job.future))

    def _next(self) -> Waiting | None:
        """The first job that waits and was not cancelled meanwhile."""
        while self._waiting:
            job = self._waiting.popleft()
            if job.future.set_running_or_notify_cancel():
                return job
        return None

    def _ended(self, thread: int, future: Future[T], running: Future[T]) -> None:
        self._take_next(thread)
        if error := running.exception():
            future.set_exception(error)
        else:
            future.set_result(running.result())
