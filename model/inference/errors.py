"""Errors of requests that the scheduler or the workers refuse or give up. Servers map them to their own responses."""

from __future__ import annotations

import errno

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where the disk has no room."""


class InferenceError(Exception):
    """Base of the errors of this file."""


class NoRoom(ValueError):
    """The disk has no room for what is to be written."""


class DeadlinePassed(InferenceError):
    """A request's deadline has passed."""


class Cancelled(InferenceError):
    """The request was cancelled: nobody waits for it any more."""


class SchedulerEnded(InferenceError):
    """The scheduler runs no more tiles. is_failure: whether it broke, rather than being stopped."""

    def __init__(self, message: str, *, is_failure: bool = True) -> None:
        super().__init__(message)
        self.is_failure = is_failure


class WorkerFailed(InferenceError):
    """A worker process ended or failed, and the image is not known to be the cause."""


class WorkersStopped(InferenceError):
    """No worker is available because the workers were stopped."""
