"""How many pixels may be decoded at once: what bounds the memory of many large images."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.engine_errors import QueueFull


class PixelBudget:
    """Hands out pixels of decoded images, and refuses what is beyond its limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Holds this many pixels; raises `QueueFull` where others hold too many."""
        with self._lock:
            if self._used and self._used + pixels > self.limit:
                held = f"{self._used / 1e6:.1f} megapixels are being worked on and at most {self.limit / 1e6:.1f} at once"
                raise QueueFull(f"{held}; try again later", retry_after=2)
            self._used += pixels
        try:
            yield
        finally:
            with self._lock:
                self._used -= pixels
