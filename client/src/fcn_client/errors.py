"""Exceptions of the client, with one class for each case that a caller may want to handle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import httpx


class SegmentError(Exception):
    """Base class of the errors of a call.

    status: HTTP status, 0 if there was no answer. title, detail: the service's explanation. request_id: the request's id in
    the service's log. problem: the service's whole problem document (RFC 9457). repeatable: whether a retry may help.
    """

    repeatable: ClassVar[bool] = False

    def __init__(self, detail: str, *, status: int = 0, problem: Mapping[str, Any] | None = None, request_id: str = "") -> None:
        self.status = status
        self.problem = dict(problem or {})
        self.title = str(self.problem.get("title", "No answer" if not status else f"Status {status}"))
        self.detail = detail
        self.request_id = str(self.problem.get("request_id", request_id))
        super().__init__(f"{status} {self.title}: {detail}" if status else detail)


class BadRequest(SegmentError):
    """400, 404, 405 or 406: the service does not accept such a request."""


class Unauthorized(SegmentError):
    """401: the API key is missing or wrong; set `api_key`."""


class TooLarge(SegmentError):
    """413: the image has too many bytes, pixels or tiles."""


class UnsupportedImage(SegmentError):
    """415: the service does not read this type of image."""


class InvalidImage(SegmentError):
    """422: the image is damaged."""


class WrongParameter(SegmentError):
    """422: a parameter is unknown, has a wrong value, or does not go with the format. The detail lists the choices."""


class ServerBusy(SegmentError):
    """503, even after the retries: the service is full, starting or stopping.

    retry_after: seconds that the service asks to wait; None if it gave no time.
    """

    repeatable = True
    retry_after: float | None = None


class NoRoom(SegmentError):
    """507: the service's disk, or the share of it for jobs, is full."""


class DeadlinePassed(SegmentError):
    """504: the service did not finish the answer in time."""


class ConnectionFailed(SegmentError):
    """There was no answer."""


class ConnectionLost(ConnectionFailed):
    """No connection, or it broke before the answer, even after the retries."""

    repeatable = True


class UnexpectedAnswer(SegmentError):
    """The answer is not the service's. It may come from a proxy or from another program at this address."""


class FetchFailed(OSError):
    """An image could not be fetched from its address. The service was not asked."""


KINDS: dict[int, type[SegmentError]] = {
    400: BadRequest, 401: Unauthorized, 404: BadRequest, 405: BadRequest, 406: BadRequest, 413: TooLarge,
    415: UnsupportedImage, 422: InvalidImage, 503: ServerBusy, 504: DeadlinePassed, 507: NoRoom,
}  # fmt: skip
TYPES: dict[str, type[SegmentError]] = {"urn:problem-type:fcn-segment:wrong-parameter": WrongParameter}
"""Problem types that tell apart what has one status."""
CONNECTION_ERRORS = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ProxyError)


def error_of(response: httpx.Response) -> SegmentError:
    """The error for a response whose status is not 2xx. A proxy's response may lack a problem document."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": _explanation(response)}
    kind = TYPES.get(str(problem.get("type"))) or KINDS.get(response.status_code, SegmentError)
    request_id = response.headers.get("X-Request-ID", "")
    error = kind(str(problem.get("detail", "")), status=response.status_code, problem=problem, request_id=request_id)
    if isinstance(error, ServerBusy):
        value = response.headers.get("Retry-After", "")
        error.retry_after = float(value) if value.isascii() and value.isdigit() else None
    return error


def connection_error(error: httpx.RequestError, seconds: float) -> ConnectionFailed:
    """The error for a request that got no response. `seconds`: the timeout of the call, for the message."""
    where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    if isinstance(error, CONNECTION_ERRORS):
        reason = str(error) or type(error).__name__
        return ConnectionLost(f"{where} does not answer: {reason}; see that the service runs there")
    if isinstance(error, httpx.TimeoutException):
        return ConnectionFailed(f"no answer from {where} within {seconds:g} s; give a longer timeout, or a smaller image")
    return ConnectionFailed(f"{where} cannot be asked: {error or type(error).__name__}")


def _explanation(response: httpx.Response) -> str:
    if target := response.headers.get("Location"):
        return f"the service has moved to {target}; give its address there as base_url"
    return response.reason_phrase or "no explanation came"
