"""What serving refuses or gives up. No status codes here: `app.api.errors` maps these once."""

from __future__ import annotations

from app.telemetry import Reason


class ServingError(Exception):
    """Base of the errors of this package; `reason` is for the metrics."""

    reason: Reason


class TooManyTiles(ServingError):
    """A request with more tiles than the queue could ever take."""

    reason = "too_large"


class TooMuchMemory(ServingError):
    """A request that takes more memory than all together ever may."""

    reason = "too_large"


class QueueFull(ServingError):
    """No room for this many tiles now; `retry_after` is in whole seconds."""

    def __init__(self, message: str, retry_after: int = 1, reason: Reason = "full") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.reason = reason


class NotServing(ServingError):
    """The service takes no images now: it starts, drains, has stopped, or its device has failed."""

    def __init__(self, message: str, reason: Reason = "failed") -> None:
        super().__init__(message)
        self.reason = reason


class UnknownModel(ServingError):
    """A model's name that none of those served has."""

    reason = "parameter"
