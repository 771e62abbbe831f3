"""How many bytes requests may take together: bodies and answers are held or refused, work waits its turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.serving.errors import QueueFull, TooMuchMemory
from model.inference.cores import available_memory

SHARE = 0.75  # of the machine's memory or the control group's that is taken, the network and all else included
NETWORK_BYTES = 350 << 20  # what the service takes while it has nothing to do, some more
LEAST_BYTES = 256 << 20
HELD_SHARE = 0.25  # of the budget, for bodies and answers
CHECK_S = 0.2  # between two looks of who waits for memory at whether anybody still wants its answer


@dataclass(eq=False)
class Held:
    """Bytes of one request's body on its way, its body, or its answer."""

    bytes: int = 0


class Memory:
    """The budget. Any thread may call it; `_lock` guards every field.

    A quarter is for what is held while a request waits or is sent: beyond it, requests are refused, and nobody waits. The rest
    is for work, from decoding to encoding, which waits for it in the order of arrival: who works waits for nothing
    else, so that the wait ends. Invariant: `_held` is the sum of all holders' bytes, `_worked` that of the work under way.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.most_held = int(limit * HELD_SHARE)
        self.most_worked = limit - self.most_held
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[object] = deque()
        self._held = 0
        self._worked = 0

    @property
    def taken(self) -> int:
        """Bytes that are held and worked with."""
        return self._held + self._worked

    def hold(self, held: Held, count: int, *, made: bool = False) -> None:
        """Corrects what a request holds to `count` bytes. Raises `QueueFull` where there is no room for more of them.

        `made`: they are there already, as an answer is, and are counted in any case.
        """
        with self._lock:
            more = count - held.bytes
            if more > 0 and not made and self._held + more > self.most_held:
                stated = f"bodies and answers of {self._held / 1e6:.0f} MB are held and at most {self.most_held / 1e6:.0f} are"
                raise QueueFull(f"{stated}; try again later", reason="memory")
            held.bytes = count
            self._held += more

    def check(self, count: int) -> None:
        """Raises `TooMuchMemory` where work with so many bytes could never begin."""
        if count > self.most_worked:
            stated = f"{count / 1e6:.0f} MB to be decoded and answered, and at most {self.most_worked / 1e6:.0f} are given"
            raise TooMuchMemory(f"the image takes {stated}; send a smaller one, or ask for a smaller side or a mask alone")

    @contextmanager
    def working(self, count: int, check: Callable[[], None]) -> Iterator[None]:
        """Waits until so many bytes may be worked with, and gives them back; raises what `check` raises meanwhile."""
        turn = object()
        with self._lock:
            self._waiting.append(turn)
            try:
                while self._waiting[0] is not turn or self._worked + count > self.most_worked:
                    self._changed.wait(CHECK_S)
                    check()
                self._worked += count
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._lock:
                self._worked -= count
                self._changed.notify_all()


def default_limit() -> int:
    """The budget where none is set, in bytes: by what the control group allows and the machine has."""
    memory = available_memory() or 0
    return max(LEAST_BYTES, int(memory * SHARE) - NETWORK_BYTES)
