"""Errors of this package. They have no status codes: `app.api.errors` maps them."""

from __future__ import annotations

from app.telemetry import Reason


class ServingError(Exception):
    """Base class of this package's errors. The metrics count `reason`."""

    reason: Reason


class NeverFits(ServingError):
    """The request needs more tiles, memory or files than the service has even when nothing else uses them."""

    reason = "too_large"


class QueueFull(ServingError):
    """The service has no room for the request now. `retry_after`: whole seconds until a new try makes sense."""

    def __init__(self, message: str, retry_after: int = 1, reason: Reason = "full") -> None:
        super().__init__(f"{message}; try again later")
        self.retry_after = retry_after
        self.reason = reason


class NotServing(ServingError):
    """The service takes no images now: it is starting, draining or stopped, or its device has failed."""

    def __init__(self, message: str, reason: Reason = "failed") -> None:
        super().__init__(message)
        self.reason = reason


class UnknownModel(ServingError):
    """No model of this name is served."""

    reason = "parameter"


class DiskFull(ServingError):
    """The disk, or the share of it that jobs may use, has no room."""

    reason = "disk"


class ResultMissing(ServingError):
    """The job has no result, or not yet."""

    reason = "request"
