"""The tile engine: one thread owns the network and serves the tiles of all requests in shared batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from app.engine_errors import Cancelled, DeadlinePassed, EngineError, EngineStopped, QueueFull, TooManyTiles

Tile = npt.NDArray[np.uint8]
Clock = Callable[[], float]


class Network(Protocol):
    """What the engine runs: uint8 tiles (height, width, 3) of one shape to float32 logits (N, classes, height, width)."""

    def logits(self, tiles: list[Tile]) -> Tensor: ...


@dataclass
class Ticket:
    """One request in the engine: its deadline on the engine's clock, and its tiles that wait."""

    deadline: float
    tiles: int = 0
    cancelled: bool = False
    waiting: deque[tuple[Tile, Future[Tensor]]] = field(default_factory=deque)
    submitted: float | None = None
    started: float | None = None

    def fail(self, error: EngineError) -> None:
        """Answers every tile that waits with this error."""
        for _, future in self.waiting:
            future.set_exception(error)
        self.waiting.clear()

    @property
    def queue_seconds(self) -> float:
        """From the first tile's arrival to its batch."""
        return 0.0 if self.submitted is None or self.started is None else self.started - self.submitted


class Engine:
    """Admits requests, batches their tiles round-robin, and answers every waiter.

    Only `logits`, and after each batch `on_batch` (its number of tiles, its seconds), run on the owner thread; cutting
    and merging stay with the requests' own threads.
    """

    def __init__(
        self,
        network: Network,
        *,
        max_batch_tiles: int,
        batch_wait_s: float,
        max_queued_tiles: int,
        on_batch: Callable[[int, float], None] = lambda tiles, seconds: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.network = network
        self.max_batch_tiles = max_batch_tiles
        self.batch_wait_s = batch_wait_s
        self.max_queued_tiles = max_queued_tiles
        self.clock = clock
        self.failure: str | None = None
        self._on_batch = on_batch
        self._condition = threading.Condition()
        self._turns: deque[Ticket] = deque()
        self._admitted = 0
        self._tiles_per_second = 10.0
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the owner thread after its batch; whoever still waits gets `EngineStopped`."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the owner thread runs and its device works."""
        return self._thread.is_alive() and self.failure is None

    @property
    def queued_tiles(self) -> int:
        """Tiles admitted and not done."""
        return self._admitted

    def admit(self, tiles: int, deadline: float) -> Ticket:
        """A place for this many tiles until `release`; raises `TooManyTiles`, `QueueFull` or `EngineStopped`."""
        limit = self.max_queued_tiles
        if tiles > limit:
            raise TooManyTiles(f"the image makes {tiles} tiles and at most {limit} are taken; give a smaller side")
        with self._condition:
            if self._stopping or not self.alive:
                raise EngineStopped(f"the engine does not run: {self.failure or 'it is not started or was stopped'}")
            if self._admitted + tiles > limit:
                wait = max(1, ceil(self._admitted / self._tiles_per_second))
                raise QueueFull(f"{self._admitted} tiles are queued and at most {limit} are taken; try again later", wait)
            self._admitted += tiles
        return Ticket(deadline, tiles)

    def release(self, ticket: Ticket) -> None:
        """Gives the ticket's place back and drops what still waits."""
        with self._condition:
            self._admitted -= ticket.tiles
            ticket.tiles = 0
            ticket.cancelled = True
            ticket.waiting.clear()

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for this request any more: its tiles leave the queue, its thread gets `Cancelled`."""
        with self._condition:
            ticket.cancelled = True
            ticket.fail(Cancelled("the request was cancelled"))

    def check(self, ticket: Ticket) -> None:
        """Raises `Cancelled` or `DeadlinePassed` where nobody waits for the ticket's answer any more."""
        if ticket.cancelled:
            raise Cancelled("the request was cancelled")
        if self.clock() >= ticket.deadline:
            raise DeadlinePassed("no answer before the deadline; send a smaller image or try when it is less busy")

    def run(self, ticket: Ticket, tiles: Iterator[Tile]) -> Iterator[Tensor]:
        """Logits of the tiles, in order, a bounded number of tiles ahead.

        Raises `DeadlinePassed`, `Cancelled`, `EngineStopped`, or what the network raised.
        """
        ahead: deque[Future[Tensor]] = deque()
        for tile in tiles:
            ahead.append(self._submit(ticket, tile))
            if len(ahead) >= 2 * self.max_batch_tiles:
                yield self._result(ticket, ahead.popleft())
        while ahead:
            yield self._result(ticket, ahead.popleft())

    def _submit(self, ticket: Ticket, tile: Tile) -> Future[Tensor]:
        future: Future[Tensor] = Future()
        with self._condition:
            if ticket.cancelled:
                raise Cancelled("the request was cancelled")
            if self._stopping or not self.alive:
                raise EngineStopped(f"the engine does not run: {self.failure or 'it was stopped'}")
            ticket.submitted = ticket.submitted if ticket.submitted is not None else self.clock()
            ticket.waiting.append((tile, future))
            if len(ticket.waiting) == 1:
                self._turns.append(ticket)
            self._condition.notify_all()
        return future

    def _result(self, ticket: Ticket, future: Future[Tensor]) -> Tensor:
        try:
            return future.result(timeout=max(0.0, ticket.deadline - self.clock()))
        except TimeoutError:
            self.cancel(ticket)
            raise DeadlinePassed("no answer before the deadline; send a smaller image or try when it is less busy") from None

    def _serve(self) -> None:
        while batch := self._next_batch():
            self._run_batch([tile for tile, _ in batch], [future for _, future in batch])
        self._refuse_all()

    def _next_batch(self) -> list[tuple[Tile, Future[Tensor]]]:
        """Waits for tiles, then takes up to a batch of one shape; empty when the engine is to stop."""
        with self._condition:
            while not self._stopping:
                self._drop_gone()
                if self._turns and self._worth_waiting():
                    self._condition.wait(self.batch_wait_s)
                    self._drop_gone()
                if self._turns:
                    return self._take()
                self._condition.wait()
            return []

    def _worth_waiting(self) -> bool:
        """Whether a batch that is not full may still fill: requests have been admitted whose tiles are to come."""
        return self.batch_wait_s > 0 and self._pending() < min(self.max_batch_tiles, self._admitted)

    def _pending(self) -> int:
        return sum(len(ticket.waiting) for ticket in self._turns)

    def _drop_gone(self) -> None:
        """Removes tickets that wait for nothing or are past their deadline."""
        now = self.clock()
        for ticket in self._turns:
            if ticket.deadline <= now:
                ticket.fail(DeadlinePassed("the request waited in the queue past its deadline"))
        self._turns = deque(ticket for ticket in self._turns if ticket.waiting)

    def _take(self) -> list[tuple[Tile, Future[Tensor]]]:
        """A tile of each request in turn, of the first one's shape, until the batch is full or none is left."""
        shape = self._turns[0].waiting[0][0].shape
        batch: list[tuple[Tile, Future[Tensor]]] = []
        passed = 0
        while self._turns and len(batch) < self.max_batch_tiles and passed < len(self._turns):
            ticket = self._turns.popleft()
            if ticket.waiting[0][0].shape == shape:
                batch.append(ticket.waiting.popleft())
                ticket.started = ticket.started if ticket.started is not None else self.clock()
                passed = 0
            else:
                passed += 1
            if ticket.waiting:
                self._turns.append(ticket)
        return batch

    def _run_batch(self, tiles: list[Tile], futures: list[Future[Tensor]]) -> None:
        started = self.clock()
        try:
            logits = self.network.logits(tiles)
        except Exception as error:
            self.failure = _fatal(error)
            for future in futures:
                future.set_exception(error)
            return
        seconds = max(self.clock() - started, 1e-6)
        self._tiles_per_second += 0.2 * (len(tiles) / seconds - self._tiles_per_second)
        self._on_batch(len(tiles), seconds)
        for future, result in zip(futures, logits, strict=True):
            future.set_result(result)

    def _refuse_all(self) -> None:
        with self._condition:
            for ticket in self._turns:
                ticket.fail(EngineStopped("the engine was stopped"))
            self._turns.clear()


def _fatal(error: Exception) -> str | None:
    """Why the device cannot be used any more, or None where the next batch may succeed."""
    if isinstance(error, torch.OutOfMemoryError) or not torch.cuda.is_available():
        return None
    return f"the CUDA context is broken: {error}" if "CUDA error" in str(error) else None
