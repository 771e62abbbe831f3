"""The tile engine: threads that own the network's lanes serve the tiles of all requests in shared batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from app.admission import Admission
from app.engine_errors import Cancelled, DeadlinePassed, EngineStopped, OutOfMemory, release_frames
from app.tickets import Item, Ticket, Tile, Turns

Clock = Callable[[], float]
LATE = "no answer before the deadline; send a smaller image or try when it is less busy"


class Network(Protocol):
    """What a lane runs: uint8 tiles (height, width, 3) of one shape to float32 logits (N, classes, rows, columns)."""

    def logits(self, tiles: list[Tile]) -> Tensor: ...


class Place(Protocol):
    """A request thread's place among the cores: whether it is held, whether the thread spreads tiles, and how to leave it."""

    @property
    def held(self) -> bool: ...

    @property
    def spreads(self) -> bool: ...

    def left(self) -> AbstractContextManager[None]: ...


class Engine:
    """Admits requests, batches their tiles round-robin, and answers every waiter.

    Each network of `lanes` (the same one may stand there several times) has an owner thread, which runs `logits` and
    after each batch `on_batch` (its number of tiles, its seconds); cutting and merging stay with the requests' threads.
    placed: what a request's thread that holds a place runs its only tile with, itself (one that spreads, one that does
    not): to hand it over and be woken would leave cores idle for a moment each time, and find other pixels in their caches.
    """

    def __init__(
        self,
        lanes: Sequence[Network],
        *,
        max_batch_tiles: int,
        batch_wait_s: float,
        max_queued_tiles: int,
        on_batch: Callable[[int, float], None] = lambda tiles, seconds: None,
        placed: tuple[Network, Network] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.max_batch_tiles = max_batch_tiles
        self.batch_wait_s = batch_wait_s
        self.clock = clock
        self.failure: str | None = None
        self.admission = Admission(max_queued_tiles, clock)
        self._on_batch = on_batch
        self._placed = placed
        self._lock = threading.Lock()
        self._wakers = [threading.Condition(self._lock) for _ in lanes]
        self._idle: set[int] = set()
        self._turns = Turns()
        self._running = 0
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._serve, args=(network, i), name=f"lane-{i}", daemon=True)
            for i, network in enumerate(lanes)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the owner threads after their batches; whoever still waits gets `EngineStopped`."""
        with self._lock:
            self._stopping = True
            for waker in self._wakers:
                waker.notify()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    @property
    def alive(self) -> bool:
        """Whether every owner thread runs and the device works."""
        return all(thread.is_alive() for thread in self._threads) and self.failure is None

    @property
    def runs_placed(self) -> bool:
        """Whether a request's thread may run its only tile itself."""
        return self._placed is not None

    @property
    def queued_tiles(self) -> int:
        """Tiles admitted and not done."""
        return self.admission.queued

    def admit(self, tiles: int, deadline: float) -> Ticket:
        """A place for this many tiles until `release`; raises `TooManyTiles`, `QueueFull` or `EngineStopped`."""
        self._check_running()
        return Ticket(deadline, tiles, self.admission.take(tiles, deadline))

    def release(self, ticket: Ticket, *, done: bool = True) -> None:
        """Gives back what is left of the ticket's place, and drops what still waits; `done` where its answer is made."""
        with self._lock:
            ticket.cancelled = True
            ticket.waiting.clear()
        self.admission.give_back(ticket.room, done=done)

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for this request any more: its tiles leave the queue, its thread gets `Cancelled`."""
        with self._lock:
            ticket.cancelled = True
            ticket.fail(Cancelled("the request was cancelled"))

    def check(self, ticket: Ticket) -> None:
        """Raises `Cancelled` or `DeadlinePassed` where nobody waits for the ticket's answer any more."""
        if ticket.cancelled:
            raise Cancelled("the request was cancelled")
        if self.clock() >= ticket.deadline:
            raise DeadlinePassed(LATE)

    def run(self, ticket: Ticket, tiles: Iterator[Tile], place: Place | None = None) -> Iterator[Tensor]:
        """Logits of the tiles, in order, a bounded number of tiles ahead; the thread's place is left while it waits.

        Each tile's room in the queue is given back with its logits, but the last one's, which is for what comes after.
        Raises `DeadlinePassed`, `Cancelled`, `EngineStopped`, `OutOfMemory`, or what the network raised.
        """
        ahead: deque[Future[Tensor]] = deque()
        most = 2 * self.max_batch_tiles * len(self._threads)
        for tile in tiles:
            ahead.append(self._submit(ticket, tile, place))
            if len(ahead) >= most:
                yield self._result(ticket, ahead.popleft(), place)
        while ahead:
            yield self._result(ticket, ahead.popleft(), place)

    @contextmanager
    def device_errors(self) -> Iterator[None]:
        """Turns a device's errors into the engine's; one that breaks the device ends the engine's life."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"the device's memory is full: {error}", retry_after=1) from error
        except torch.AcceleratorError as error:
            self.failure = f"the device is broken: {error}"
            raise EngineStopped(self.failure) from error

    def _check_running(self) -> None:
        if self._stopping or not self.alive:
            raise EngineStopped(f"the engine does not run: {self.failure or 'it is not started or was stopped'}")

    def _submit(self, ticket: Ticket, tile: Tile, place: Place | None) -> Future[Tensor]:
        item = Item(tile, Future())
        with self._lock:
            if ticket.cancelled:
                raise Cancelled("the request was cancelled")
            self._check_running()
            ticket.submitted = ticket.submitted if ticket.submitted is not None else self.clock()
            here = self._network_here(ticket, place)
            if here:
                self._running += 1
                ticket.started = ticket.submitted
            else:
                self._turns.add(ticket, item)
                self._wake()
        if here:
            self._run_batch(here, [item])
            with self._lock:
                self._running -= 1
        return item.future

    def _network_here(self, ticket: Ticket, place: Place | None) -> Network | None:
        """What this thread runs the request's only tile with, with the lock held; None where it is to be handed over."""
        if not self._placed or not place or not place.held or ticket.tiles != 1 or self._turns.waiting:
            return None
        return self._placed[0 if place.spreads else 1]

    def _wake(self) -> None:
        """Wakes the first lane that is idle: it is the one with threads for a lone tile, and still warm."""
        if self._idle:
            self._wakers[min(self._idle)].notify()

    def _wait(self, lane: int, seconds: float | None = None) -> None:
        """Waits to be woken, with the lock held."""
        self._idle.add(lane)
        self._wakers[lane].wait(seconds)
        self._idle.discard(lane)

    def _result(self, ticket: Ticket, future: Future[Tensor], place: Place | None) -> Tensor:
        try:
            with place.left() if place and not future.done() else nullcontext():
                logits = future.result(timeout=max(0.0, ticket.deadline - self.clock()))
        except TimeoutError:
            self.cancel(ticket)
            raise DeadlinePassed(LATE) from None
        if ticket.room.tiles > 1:
            self.admission.give_back(ticket.room, 1, done=True)
        return logits

    def _serve(self, network: Network, lane: int) -> None:
        while batch := self._next_batch(lane):
            self._run_batch(network, batch)
            with self._lock:
                self._running -= len(batch)
        with self._lock:
            self._turns.fail(EngineStopped("the engine was stopped"))

    def _next_batch(self, lane: int) -> list[Item]:
        """Waits for tiles, then takes up to a batch of one shape; empty when the engine is to stop."""
        with self._lock:
            while not self._stopping:
                self._turns.drop_gone(self.clock())
                self._fill(lane)
                if batch := self._turns.take(self.max_batch_tiles, self.clock()):
                    self._running += len(batch)
                    if self._turns.waiting:
                        self._wake()
                    return batch
                self._wait(lane)
            return []

    def _fill(self, lane: int) -> None:
        """Lets a batch that is worth it fill for `batch_wait_s`."""
        until = self.clock() + self.batch_wait_s
        while self._worth_waiting() and not self._stopping and (left := until - self.clock()) > 0:
            self._wait(lane, left)
            self._turns.drop_gone(self.clock())

    def _worth_waiting(self) -> bool:
        """Whether a batch that is not full may still fill while other lanes keep the device busy."""
        if not self.batch_wait_s or not self._running:
            return False
        return 0 < self._turns.waiting < min(self.max_batch_tiles, self.admission.queued - self._running)

    def _run_batch(self, network: Network, batch: list[Item]) -> None:
        started = self.clock()
        try:
            with self.device_errors():
                logits = network.logits([item.tile for item in batch])
            results = list(zip(batch, logits, strict=True))
            self._on_batch(len(batch), self.clock() - started)
        except Exception as error:
            release_frames(error)  # the batch's memory, which its tiles may need when they are tried one by one
            self._failed(network, batch, error)
            return
        for item, result in results:
            item.future.set_result(result)

    def _failed(self, network: Network, batch: list[Item], error: Exception) -> None:
        """Tries the tiles of a failed batch one by one, so that a bad one does not fail its neighbours."""
        if len(batch) == 1 or isinstance(error, EngineStopped):
            for item in batch:
                item.future.set_exception(error)
            return
        for item in batch:
            self._run_batch(network, [item])
