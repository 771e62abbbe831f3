"""Errors that a client sees: their classes and status codes, the mapping from other packages' errors, and their answers."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from app.serving.errors import DiskFull, NeverFits, NotServing, QueueFull, ResultMissing, UnknownModel
from app.serving.photos import Failure
from app.serving.service import Service
from app.telemetry import Reason
from common.printable import VALUE_LENGTH, printable
from imaging.decoding import IMAGE_FORMATS
from imaging.errors import AnswerTooLarge, DamagedImage, EmptyImage, ImageTooLarge, UnknownImageType, WrongParameter
from model.inference.errors import NO_SPACE, Cancelled, DeadlinePassed, NoRoom, SchedulerEnded, WorkerFailed, WorkersStopped
from model.inference.scaling import SideError
from model.inference.tiling import TilingError

DETAIL_LENGTH = 1000
NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)
NO_THREAD = "can't start new thread"  # Python has no class for it
MEDIA_TYPE = "application/problem+json"
METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
TYPE_PREFIX = "urn:problem-type:fcn-segment:"
log = logging.getLogger("segment")


class Problem(Exception):
    """An error that is answered as problem details (RFC 9457). `reason`, if not None, is for the metrics and the log.

    name: the last part of the problem's `type`, by which programs tell problems apart.
    """

    status: ClassVar[int] = 500
    name: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    example: ClassVar[str] = "the service failed; the log has the request's id"
    reason: Reason | None = None

    def __init__(self, detail: str, headers: dict[str, str] | None = None, reason: Reason | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.reason = reason or self.reason

    @property
    def log(self) -> dict[str, str]:
        """The fields that the problem adds to the request's log line."""
        return {"detail": self.detail} | ({"reason": self.reason} if self.reason else {})


class BadRequest(Problem):
    status, name, title, reason = 400, "bad-request", "Bad request", "request"
    example = "no file in a field `file` (or `image`) of the form; fields that came: picture"


class EmptyBody(Problem):
    status, name, title, reason = 400, "empty-body", "Empty image", "empty"
    example = "the image is empty (0 bytes); send the bytes of an image file"


class Unauthorized(Problem):
    status, name, title, reason = 401, "no-valid-key", "No or wrong API key", "key"
    example = "send a valid key as `X-API-Key: KEY` or `Authorization: Bearer KEY`"


class Forbidden(Problem):
    status, name, title = 403, "forbidden", "Not allowed from there"
    example = "a page of https://other.example may not call the service; the operator can name it in SEGMENT_CORS_ORIGINS"


class NotFound(Problem):
    status, name, title = 404, "not-found", "Not found"
    example = "nothing at /segments; the routes are listed at /docs"


class MethodNotAllowed(Problem):
    status, name, title = 405, "method-not-allowed", "Method not allowed"
    example = "GET is not allowed on /segment; allowed: POST"


class NotAcceptable(Problem):
    status, name, title, reason = 406, "not-acceptable", "No acceptable format", "not_acceptable"
    example = "Accept: text/csv fits neither image/png nor application/json; give one of those, or ?format="


class PreconditionFailed(Problem):
    status, name, title = 412, "precondition-failed", "Precondition failed"
    example = 'the answer is still the one with the tag "9f86d081884c7d659a2feaa0c55ad015"; leave out If-None-Match to get it'


class UploadTooSlow(Problem):
    status, name, title, reason = 408, "upload-too-slow", "Upload too slow", "slow_upload"
    example = "the body did not arrive within 30 s, or came slower than 10 kB a second; send it again, or a smaller image"


class TooLarge(Problem):
    status, name, title, reason = 413, "too-large", "Too large", "too_large"
    example = (
        "the image has 20000x20000 pixels (400.0 megapixels); at most 100 megapixels are accepted; scale it down; "
        "the operator can raise SEGMENT_MAX_MEGAPIXELS"
    )


class RangeNotSatisfiable(Problem):
    status, name, title = 416, "range-not-satisfiable", "Range not satisfiable"
    example = "Range: bytes=900- begins after the end of the file, which has 800 bytes"


class UnsupportedType(Problem):
    status, name, title, reason = 415, "unsupported-image-type", "Not an accepted image type", "type"
    example = f"this file is none of {', '.join(IMAGE_FORMATS)}; it is text; send the file of an image"


class Undecodable(Problem):
    status, name, title, reason = 422, "damaged-image", "Damaged image", "damaged"
    example = "the image is damaged: the file ends early; is the file complete?"


class BadParameter(Problem):
    status, name, title, reason = 422, "wrong-parameter", "Wrong parameter", "parameter"
    example = "query mask: must be one of rle, png, array, polygons, got 'gif'"


class Unavailable(Problem):
    status, name, title = 503, "unavailable", "Not available now"
    example = "1024 tiles are queued and at most 1024 are allowed; try again later"


class TimedOut(Problem):
    status, name, title, reason = 504, "deadline-passed", "Deadline passed", "timeout"
    example = "no answer within 60 s; send a smaller image, or try again when the service is less busy"


class InsufficientStorage(Problem):
    status, name, title, reason = 507, "no-room", "No room on the disk", "disk"
    example = "the service's disk is full, but for its reserve of 537 MB; remove jobs that have ended, or try again later"


class ClientGone(Problem):
    """Only for the log and the metrics: no client is left to read it."""

    status, name, title = 499, "client-gone", "Client closed request"
    example = "the client went away"


SEGMENT_PROBLEMS: tuple[type[Problem], ...] = (
    BadRequest, Unauthorized, Forbidden, NotAcceptable, UploadTooSlow, PreconditionFailed, TooLarge, UnsupportedType,
    Undecodable, BadParameter, Unavailable, TimedOut,
)  # fmt: skip
BATCH_PROBLEMS: tuple[type[Problem], ...] = (
    BadRequest, Unauthorized, Forbidden, UploadTooSlow, TooLarge, UnsupportedType, BadParameter, Unavailable,
)  # fmt: skip
PROBLEMS: dict[type[Problem], tuple[type[Exception], ...]] = {
    EmptyBody: (EmptyImage,),
    UnsupportedType: (UnknownImageType,),
    Undecodable: (DamagedImage,),
    TooLarge: (ImageTooLarge, AnswerTooLarge, NeverFits),
    BadParameter: (WrongParameter, SideError, TilingError, UnknownModel),
    Unavailable: (QueueFull, NotServing, SchedulerEnded, WorkerFailed, WorkersStopped),
    TimedOut: (DeadlinePassed,),
    InsufficientStorage: (DiskFull, NoRoom),
    NotFound: (ResultMissing,),
    ClientGone: (Cancelled, ClientDisconnect),
}
FOREIGN = {error: kind for kind, errors in PROBLEMS.items() for error in errors}
"""The problem for each error of other packages."""


def to_problem(error: Exception) -> Problem:
    """The problem for an error: that of `FOREIGN`, 503 if no more files may be open, 507 for a full disk; else a `Problem`."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, OSError) and error.errno in NO_MORE_FILES:
        return Unavailable("too many files are open; try again later", {"Retry-After": "1"}, "full")
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return InsufficientStorage(InsufficientStorage.example)
    kind = next((FOREIGN[base] for base in type(error).__mro__ if base in FOREIGN), None)
    if not kind:
        return Problem(Problem.example)
    headers = {"Retry-After": str(getattr(error, "retry_after", 1))} if kind is Unavailable else {}
    reasons: dict[type[Exception], Reason] = {WorkerFailed: "worker", WorkersStopped: "draining"}
    if isinstance(error, SchedulerEnded):
        reasons[type(error)] = "failed" if error.is_failure else "draining"
    return kind(str(error) or kind.example, headers, reasons.get(type(error)) or getattr(error, "reason", None))


def document(kind: type[Problem], detail: str, request_id: str) -> dict[str, Any]:
    """The problem details (RFC 9457, section 3.1) with the request's id.

    The detail is cut to `DETAIL_LENGTH` characters; what cannot be printed is escaped.
    """
    detail = printable(detail, DETAIL_LENGTH)
    return {
        "type": TYPE_PREFIX + kind.name,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "request_id": request_id,
    }


def install_handlers(app: FastAPI) -> None:
    """Adds handlers that answer errors as problem details. `app.middleware.Refusals` answers all other errors."""
    for kind in (Problem, OSError, *FOREIGN):
        app.add_exception_handler(kind, _on_error)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_error(request: Request, error: Exception) -> Response:
    """Answers a problem, or an error that stands for one."""
    problem = to_problem(error)
    if type(problem) is Problem:
        raise error
    request.state.answer_fields = problem.log
    content = document(type(problem), problem.detail, getattr(request.state, "request_id", ""))
    return JSONResponse(content, problem.status, problem.headers, MEDIA_TYPE)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    path = request.scope["path"]
    if error.status_code == 404:
        return await _on_error(request, nothing_at(path, headers))
    if error.status_code != 405:
        return await _on_error(request, BadRequest(str(error.detail), headers))
    headers["Allow"] = ", ".join(methods_of(request))
    method = printable(request.method, VALUE_LENGTH)
    detail = f"{method} is not allowed on {printable(path, VALUE_LENGTH)}; allowed: {headers['Allow']}"
    if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        detail += "; a page of another origin may call the service if SEGMENT_CORS_ORIGINS names that origin"
    return await _on_error(request, MethodNotAllowed(detail, headers))


def methods_of(request: Request) -> list[str]:
    """The methods that work at the request's address, by all its routes. HEAD works where GET does."""

    def works(method: str) -> bool:
        return any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)

    methods = list(filter(works, METHODS))
    return methods + ["HEAD"] * ("GET" in methods)


def nothing_at(path: str, headers: dict[str, str] | None = None) -> NotFound:
    """The problem for a path that no route has."""
    return NotFound(f"nothing at {printable(path, VALUE_LENGTH)}; the routes are listed at /docs", headers)


def explain(service: Service, request_id: str, error: Exception, log_fields: Mapping[str, Any]) -> Failure:
    """What an error of one image of several is to their client. One that nobody expected is logged."""
    problem = to_problem(error)
    if type(problem) is Problem:
        problem = unexpected_problem(error, service, log_fields)
    problem.__traceback__ = problem.__cause__ = problem.__context__ = None  # its frames refer to it, which keeps memory
    facts = {"retry_after": int(seconds)} if (seconds := problem.headers.get("Retry-After")) else {}
    return Failure(document(type(problem), problem.detail, request_id), problem.reason, facts, problem)


def unexpected_problem(error: Exception, service: Service, log_fields: Mapping[str, Any]) -> Problem:
    """The problem for an unexpected error, which is logged with these fields.

    It is 500, or 503 if a thread could not be started, which also fails the service.
    """
    log.error("unexpected error", exc_info=error, extra={"fields": log_fields})
    if isinstance(error, RuntimeError) and str(error) == NO_THREAD:
        return to_problem(service.thread_failure(error))
    return Problem(Problem.example)
