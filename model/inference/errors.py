"""What the scheduler and the workers refuse or give up. Servers map these to what their clients understand."""

from __future__ import annotations


class InferenceError(Exception):
    """Base of the errors of this file."""


class DeadlinePassed(InferenceError):
    """A request's time is over."""


class Cancelled(InferenceError):
    """A request that nobody waits for any more."""


class SchedulerEnded(InferenceError):
    """The scheduler runs no tiles any more; `failed` where it did not end as asked."""

    def __init__(self, message: str, *, failed: bool = True) -> None:
        super().__init__(message)
        self.failed = failed


class WorkerFailed(InferenceError):
    """A worker process ended, or failed, for a reason that is not the image's."""


class WorkersStopped(InferenceError):
    """No worker is to be had: they were stopped."""
