"""What the engine refuses or gives up. No status codes here: the web layer maps these once."""

from __future__ import annotations

from traceback import clear_frames


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


def release_frames(error: BaseException | None) -> None:
    """Lets go of all that is held by the calls that an error, and what caused it, came out of; they still tell their lines.

    A call that holds a future that holds its error would else keep tiles, and the image, until the garbage is collected.
    """
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__
