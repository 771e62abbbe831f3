"""What the engine refuses or gives up. No status codes here: the web layer maps these once."""

from __future__ import annotations


class EngineError(Exception):
    """Base of the engine's errors."""


class TooManyTiles(EngineError):
    """A request with more tiles than the queue could ever take."""


class QueueFull(EngineError):
    """No room for this many tiles now; `retry_after` is in whole seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutOfMemory(QueueFull):
    """The device has no memory left for a batch or for merging, now."""


class EngineStopped(EngineError):
    """The engine does not run: not started, stopped, or its device failed."""


class DeadlinePassed(EngineError):
    """A request's time is over."""


class Cancelled(EngineError):
    """A request that nobody waits for any more."""
