"""ASGI middleware: request ids, access log, unexpected errors, HEAD, and load shedding before a body is read."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Collection, Sequence
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import MEDIA_TYPE, BadRequest, Problem, Unavailable, document, nothing_at, to_problem, unexpected_problem
from app.serving.errors import NotServing, ServingError
from app.serving.service import DRAINING, Service
from app.telemetry import Metrics

REQUEST_ID = "x-request-id"
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
POLLED_PATHS = {"/health", "/health/live", "/health/ready", "/metrics"}
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
TWO_LENGTHS = "the request has both Content-Length and Transfer-Encoding, which may disagree; send one of them"
ENCODING = "Transfer-Encoding must be `chunked` alone, or use Content-Length"
HOSTS = "a request of HTTP/1.1 must have one Host"
VERSION = "the version must be HTTP/1.1 or HTTP/1.0"
log = logging.getLogger("segment")
TRACEPARENT = "traceparent"
FORMAT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def trace_fields(headers: Sequence[str]) -> dict[str, str]:
    """`trace_id` and `parent_id` from a request's `traceparent` headers; empty unless there is exactly one, and it is valid.

    For log lines only (https://www.w3.org/TR/trace-context/, section 3.2).
    """
    match = FORMAT.fullmatch(headers[0]) if len(headers) == 1 else None
    if not match:
        return {}
    version, trace_id, parent_id, extension = match.groups()
    # only versions after 00 may have more fields, and ff is no version
    if version == "ff" or (version == "00" and extension) or not int(trace_id, 16) or not int(parent_id, 16):
        return {}
    return {"trace_id": trace_id, "parent_id": parent_id}


class RequestTelemetry:
    """Gives each request an id, and logs and counts its answer.

    Inner layers find the id in the request's headers and state. Log lines have the client's address, the name of its key, and
    the ids of the caller's trace if a valid `traceparent` header has them. Inner layers see a HEAD as a GET; the server leaves
    the body out. polled_paths: routes whose usual answers are logged only at the level `debug`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, polled_paths: Collection[str] = POLLED_PATHS) -> None:
        self.app = app
        self.metrics = metrics
        self.polled_paths = polled_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        request_id = headers[REQUEST_ID] = sane_request_id(headers.get(REQUEST_ID))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["known"] = {"request_id": request_id} | sender(scope) | trace_fields(headers.getlist(TRACEPARENT))
        start, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        inner = dict(scope, method="GET") if scope["method"] == "HEAD" else scope
        try:
            await self.app(inner, receive, send_with_id)
        finally:
            scope["route"] = inner.get("route")
            self._account(scope, status or 499, time.perf_counter() - start)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts a request, and logs it with the fields in its state's `log`. status: 499 if nothing was answered."""
        state = scope["state"]
        route = state.get("route") or getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.count_request(route, method, status, seconds)
        fields = state.get("log", {})
        if (
            "route" in state and "reason" in fields
        ):  # only requests that `LoadShedding` handles, which are images, count as rejected
            self.metrics.count_rejection(fields["reason"])
        # the usual answers of polled routes are not worth a line: the service logs itself why it answers 503
        level = logging.DEBUG if route in self.polled_paths and (status < 400 or status == 503) else logging.INFO
        if log.isEnabledFor(level):
            facts = state["known"] | {"method": scope["method"], "path": scope["path"], "status": status}
            log.log(level, "request", extra={"fields": facts | {"ms": round(seconds * 1000, 1)} | fields})


class UnexpectedErrors:
    """Answers 500 to an unexpected error of a route, an error handler or `LoadShedding`, and logs it with the request's id.

    Answers 503 if a thread could not be started, which fails the service, or if the server cancels the request because the
    drain has taken too long. Once an answer has begun, the error is raised again, and the server closes the connection.
    Middleware outside this one (CORS, `RequestTelemetry`, `ConnectionMiddleware`) is not covered: Starlette answers its
    errors with a plain 500, and uvicorn logs them.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_answer(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_answer)
        except asyncio.CancelledError:
            if not self.service.draining:
                raise
            if not has_begun:
                await send_problem(scope, send, to_problem(NotServing(DRAINING, "draining")))
        except Exception as error:
            if scope["type"] != "http":
                raise
            log.error("unexpected error", exc_info=error, extra={"fields": scope["state"]["known"]})
            problem = unexpected_problem(error, self.service)
            if has_begun:
                raise
            await send_problem(scope, send, problem)


class LoadShedding:
    """Makes a reservation for each POST to `paths` by its head alone, before anything is routed, parsed or read.

    A refusal is 503 with `Connection: close`. The request's state holds the reservation as `reservation`, which is closed once
    the answer is sent. A path with control characters is 404, whatever the method. An ambiguous head is 400.
    """

    def __init__(self, app: ASGIApp, service: Service, paths: tuple[str, ...]) -> None:
        self.app = app
        self.service = service
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and any(character < " " for character in path):
            # the pattern of a route would match a path that ends with a line feed
            await send_problem(scope, send, nothing_at(scope["path"]))
            return
        if scope["type"] == "http" and (detail := ambiguity(scope)):
            await send_problem(scope, send, BadRequest(detail, {"Connection": "close"}))
            return
        if scope["type"] != "http" or scope["method"] != "POST" or path not in self.paths:
            await self.app(scope, receive, send)
            return
        scope["state"]["route"] = path
        try:
            reservation = self.service.admission.acquire(scope["state"]["client"], network_of(scope), self.service.deadline())
        except ServingError as error:
            problem = to_problem(error)
            headers = problem.headers | {"Connection": "close"}
            await send_problem(scope, send, Unavailable(problem.detail, headers, problem.reason))
            return
        self.service.in_flight += 1
        try:
            with reservation:
                scope["state"]["reservation"] = reservation
                await self.app(scope, receive, send)
        finally:
            self.service.in_flight -= 1


def ambiguity(scope: Scope) -> str | None:
    """What a proxy may read otherwise in the request's head (RFC 9112, sections 3.2, 6.1), whichever parser read it."""
    headers, version = Headers(scope=scope), scope.get("http_version", "1.1")
    encodings = headers.getlist("transfer-encoding")
    if version not in ("1.0", "1.1"):
        return VERSION
    if encodings and "content-length" in headers:
        return TWO_LENGTHS
    if encodings and (len(encodings) > 1 or encodings[0].lower() != "chunked"):
        return ENCODING
    hosts = len(headers.getlist("host"))
    return HOSTS if hosts > 1 or (not hosts and version == "1.1") else None


def network_of(scope: Scope) -> str:
    """Who sent the request, for fair turns: an address or, of IPv6, the network of 64 bits that one customer usually has."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    return host if address.version == 4 else address.exploded[:19]


async def send_problem(scope: Scope, send: Send, problem: Problem) -> None:
    """Sends a problem as the answer, without the application."""
    scope["state"]["log"] = problem.log
    body = json.dumps(document(type(problem), problem.detail, scope["state"]["request_id"])).encode()
    headers = MutableHeaders({"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers})
    await send({"type": "http.response.start", "status": problem.status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})


def sane_request_id(header: str | None) -> str:
    """The header's value if it is 1 to 128 letters, digits, dots, dashes or underscores, else a new id."""
    return header if header and SANE_ID.fullmatch(header) else f"{random.getrandbits(128):032x}"


def sender(scope: Scope) -> dict[str, str]:
    """The field `client`: the address of the client, or that which a trusted proxy has stated; empty without an address."""
    return {"client": scope["client"][0]} if scope.get("client") else {}
