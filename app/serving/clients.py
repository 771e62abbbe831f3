"""Clients whose requests are in progress: how fast each sends or reads, and whose connection is closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

LEAST_RATE = 100_000  # bytes per second; a client that sends or reads less is slow
SLOW_S = 5.0  # the service must have waited for a client for so long before the client counts as slow
LEAST_WAIT_S = 1.0  # and for so long before the client may be closed as the slowest one


class Client:
    """A client whose request is in progress.

    A measurement of its rate counts only the time in which the service waits for it.

    moved_bytes: returns how many bytes it has sent and read so far. abort: closes its connection. is_uploading: whether a part
    of its body has yet to arrive. reason: why its connection is closed, for the log.
    """

    def __init__(
        self, moved_bytes: Callable[[], int], abort: Callable[[], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.is_uploading = False
        self.is_closed, self.reason = False, "slow"
        self.moved_bytes, self._abort, self._clock = moved_bytes, abort, clock
        self._waits = 0  # how many calls wait for it now
        # in this measurement: when those calls began to wait, and the seconds of earlier waiting
        self._since = self._waited_s = 0.0
        self._first_bytes = 0  # `moved_bytes` when this measurement began

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the block runs, the service waits for this client to send or to read."""
        if not self._waits:
            self._since = self._clock()
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._waited_s += self._clock() - self._since

    @property
    def waited_s(self) -> float:
        """Seconds for which the service has waited for it in this measurement."""
        return self._waited_s + (self._clock() - self._since if self._waits else 0.0)

    @property
    def rate(self) -> float:
        """Bytes for each second of `waited_s`."""
        return (self.moved_bytes() - self._first_bytes) / max(self.waited_s, 1e-9)

    @property
    def is_slow(self) -> bool:
        """Whether its rate over at least `SLOW_S` seconds was below `LEAST_RATE`."""
        return self.waited_s >= SLOW_S and self.rate < LEAST_RATE

    def measure_anew(self) -> None:
        """Begins a new measurement."""
        self._first_bytes, self._waited_s, self._since = self.moved_bytes(), 0.0, self._clock()

    def close(self) -> None:
        """Closes its connection. Calling it again does nothing."""
        if not self.is_closed:
            self.is_closed = True
            self._abort()


class Clients:
    """The clients whose requests are in progress. Only for the event loop."""

    def __init__(self) -> None:
        self._clients: dict[Client, None] = {}

    @contextmanager
    def registered(self, client: Client) -> Iterator[None]:
        self._clients[client] = None
        try:
            yield
        finally:
            del self._clients[client]

    def close_slow(self, clients: Iterable[Client]) -> None:
        """Closes those of these clients that are slow, because other requests wait for what they hold.

        A client that was fast over `SLOW_S` seconds is measured anew, so that it is soon a slow one if it has stopped.
        """
        for client in set(clients):
            if client.is_slow:
                client.close()
            elif client.waited_s >= SLOW_S:
                client.measure_anew()

    def close_slowest(self, clients: Iterable[Client] | None = None) -> bool:
        """Closes all slow clients or, if there are none, the slowest one. Returns whether one was closed.

        clients: None for all. Does not close a client for which the service has waited less than `LEAST_WAIT_S` seconds.
        """
        all_clients = self._clients if clients is None else clients
        candidates = [client for client in all_clients if client.waited_s >= LEAST_WAIT_S and not client.is_closed]
        chosen = [client for client in candidates if client.is_slow] or sorted(candidates, key=lambda client: client.rate)[:1]
        for client in chosen:
            client.close()
        return bool(chosen)
