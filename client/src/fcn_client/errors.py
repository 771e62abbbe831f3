"""What can go wrong, one class for what a caller may want to tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import httpx

from fcn_client.headers import retry_after


class SegmentError(Exception):
    """The service did not answer what was asked.

    status: of HTTP, 0 where there was no answer. title, detail: the service's words. request_id: as in its log.
    problem: the whole document (RFC 9457). repeatable: whether asking again may help.
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
    """400, 404, 405 or 406: the request is not one that the service knows."""


class Unauthorized(SegmentError):
    """401: no key or a wrong one; give `api_key`."""


class TooLarge(SegmentError):
    """413: too many bytes, pixels or tiles."""


class UnsupportedImage(SegmentError):
    """415: not a type of image that is taken."""


class InvalidImage(SegmentError):
    """422: the image is damaged, or a parameter is wrong; the detail names the choices."""


class ServerBusy(SegmentError):
    """503, still after the retries: full, starting or stopping. retry_after: seconds, None where the service said nothing."""

    repeatable = True
    retry_after: float | None = None


class DeadlinePassed(SegmentError):
    """504: the service had no answer in time."""


class ConnectionFailed(SegmentError):
    """No answer at all."""


class ConnectionLost(ConnectionFailed):
    """Not connected, or cut off before the answer, still after the retries."""

    repeatable = True


class UnexpectedAnswer(SegmentError):
    """An answer that is not the service's: perhaps of a proxy, or of something else at this address."""


KINDS: dict[int, type[SegmentError]] = {
    400: BadRequest, 401: Unauthorized, 404: BadRequest, 405: BadRequest, 406: BadRequest, 413: TooLarge,
    415: UnsupportedImage, 422: InvalidImage, 503: ServerBusy, 504: DeadlinePassed,
}  # fmt: skip
LOST = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ProxyError)


def error_of(response: httpx.Response) -> SegmentError:
    """The error that an answer of another status than 2xx is; from a proxy it may come without a problem document."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": _explained(response)}
    kind = KINDS.get(response.status_code, SegmentError)
    request_id = response.headers.get("X-Request-ID", "")
    error = kind(str(problem.get("detail", "")), status=response.status_code, problem=problem, request_id=request_id)
    if isinstance(error, ServerBusy):
        error.retry_after = retry_after(response)
    return error


def lost(error: httpx.RequestError, seconds: float) -> ConnectionFailed:
    """What it means that no answer came within so many seconds, or at all."""
    where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    if isinstance(error, LOST):
        reason = str(error) or type(error).__name__
        return ConnectionLost(f"{where} does not answer: {reason}; see that the service runs there")
    if isinstance(error, httpx.TimeoutException):
        return ConnectionFailed(f"no answer from {where} within {seconds:g} s; give a longer timeout, or a smaller image")
    return ConnectionFailed(f"{where} cannot be asked: {error or type(error).__name__}")


def _explained(response: httpx.Response) -> str:
    if target := response.headers.get("Location"):
        return f"the service has moved to {target}; give its address there as base_url"
    return response.reason_phrase or "no explanation came"
