"""What serving refuses or gives up. No status codes here: `app.api.errors` maps these once."""

from __future__ import annotations


class ServingError(Exception):
    """Base of the errors of this package."""


class TooManyTiles(ServingError):
    """A request with more tiles than the queue could ever take."""


class TooMuchMemory(ServingError):
    """A request that takes more memory than all together ever may."""


class QueueFull(ServingError):
    """No room for this many tiles now; `retry_after` is in whole seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotServing(ServingError):
    """The service takes no images now: it starts, drains, has stopped, or its device has failed."""


class UnknownModel(ServingError):
    """A model's name that none of those served has."""


class DeadlinePassed(ServingError):
    """A request's time is over."""


class Cancelled(ServingError):
    """A request that nobody waits for any more."""
