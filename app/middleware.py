"""ASGI middleware: request ids, access log, unexpected errors, HEAD, and what is refused before a body is read."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import MEDIA_TYPE, METHODS, BadRequest, Problem, document, nothing_at, to_problem, unexpected_problem
from app.api.security import check_sender
from app.origins import network_of, plain_address
from app.serving.errors import NotServing, ServingError
from app.serving.service import DRAINING, Service
from app.telemetry import Metrics

REQUEST_ID = "x-request-id"
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# https://www.w3.org/TR/trace-context/, section 3.2: ff is no version, 00 has no more fields, and ids are not zero
TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})(?P<trace_id>[0-9a-f]{32})-(?!0{16})(?P<parent_id>[0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
POLLED_PATHS = {"/health", "/health/live", "/health/ready", "/metrics", "/ping"}
METHOD_LABELS = (*METHODS, "HEAD", "OPTIONS")
TWO_LENGTHS = "the request has both Content-Length and Transfer-Encoding, which may disagree; send one of them"
MOST_HEADERS = 100  # of a head, and parameters of its target
PARSED, PARSED_BYTES = ("accept", "accept-encoding", "content-type", "if-none-match", "range"), 1024
"""Headers that are taken apart, which takes time, and the most bytes of each."""
VERSION = "the version must be HTTP/1.1 or HTTP/1.0"
TARGET = "the request's target must be a path, or an address http://HOST/PATH, without #"
log = logging.getLogger("segment")


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
        headers, state = MutableHeaders(scope=scope), scope.setdefault("state", {})
        state["method"] = scope["method"]
        request_id = headers.get(REQUEST_ID, "")
        if not SANE_ID.fullmatch(request_id):
            request_id = f"{random.getrandbits(128):032x}"
        headers[REQUEST_ID] = state["request_id"] = request_id
        if client := scope.get("client"):
            scope["client"] = plain_address(client[0]), client[1]
        address = {"client": scope["client"][0]} if client else {}
        state["log_fields"] = {"request_id": request_id} | address | trace_fields(headers.getlist("traceparent"))
        start, status = time.perf_counter(), 499  # unless it is answered

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
            self._account(inner, scope["method"], status, time.perf_counter() - start)

    def _account(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        """Counts a request, and logs it with the `answer_fields` of its state."""
        state = scope["state"]
        route = state.get("route") or getattr(scope.get("route"), "path", "other")
        self.metrics.count_request(route, method if method in METHOD_LABELS else "other", status, seconds)
        fields = state.get("answer_fields", {})
        if "route" in state and "reason" in fields:  # an image was refused
            self.metrics.rejections.labels(fields["reason"]).inc()
        # the usual answers of polled routes are not worth a line: the service logs itself why it answers 503
        level = logging.DEBUG if route in self.polled_paths and (status < 400 or status == 503) else logging.INFO
        if log.isEnabledFor(level):
            facts = state["log_fields"] | {"method": method, "path": scope["path"], "status": status}
            log.log(level, "request", extra={"fields": facts | {"ms": round(seconds * 1000, 1)} | fields})


class Refusals:
    """Refuses invalid heads (400, 404), other sites (403), and images without room (503); answers unexpected errors (500).

    Each POST or PUT to one of the routes gets a reservation by its head alone, before anything is routed, parsed or read. The
    request's state holds it as `reservation`; it is closed once the answer is sent.

    An unexpected error of a route or an error handler is logged with the request's id. The answer is 503 instead of 500 if a
    thread could not be started, which fails the service, or if the server cancels the request because the drain has taken too
    long. Once an answer has begun, the error is raised again, and the server closes the connection. Middleware outside this one
    (CORS, `RequestTelemetry`, `ConnectionMiddleware`) is not covered: Starlette answers its errors with a plain 500, and
    uvicorn logs them.
    """

    def __init__(self, app: ASGIApp, service: Service, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self.service = service
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_begun = False

        async def send_answer(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            if message.get("status", 200) >= 400 and "reservation" in scope["state"]:
                scope["state"]["reservation"].close()
            await send(message)

        try:
            path = check_head(scope)
            check_sender(scope, path, self.service)
            with self._reservation(scope):
                await self.app(scope, receive, send_answer)
        except (Problem, ServingError) as error:
            await send_problem(scope, send, to_problem(error))
        except asyncio.CancelledError:
            if not self.service.draining:
                raise
            if not has_begun:
                await send_problem(scope, send, to_problem(NotServing(DRAINING, "draining")))
        except Exception as error:
            answer = unexpected_problem(error, self.service, scope["state"]["log_fields"])
            if has_begun:
                raise
            await send_problem(scope, send, answer)

    @contextmanager
    def _reservation(self, scope: Scope) -> Iterator[None]:
        """Counts a request with images, and reserves its place. Raises `QueueFull`."""
        matches = (each for each in self.routes if each.matches(scope)[0] is Match.FULL)
        route = next(matches, None) if scope["method"] in ("POST", "PUT") else None
        if not route:
            yield
            return
        state = scope["state"]
        state["route"] = getattr(route, "path", "other")
        sender = network_of(scope.get("client"))
        state["reservation"] = self.service.admission.acquire(state["client"], sender, self.service.deadline())
        self.service.in_flight += 1
        try:
            with state["reservation"]:
                yield
        finally:
            self.service.in_flight -= 1


def check_head(scope: Scope) -> str:
    """Returns the path below the root path. A target in absolute form, `http://host/path`, becomes its path.

    Raises `BadRequest` for what a proxy may read otherwise (RFC 9112, sections 3.2, 6.1) and h11 lets through, and `NotFound`
    for a path with control characters: the pattern of a route would match a path that ends with a line feed.
    """
    headers, root = Headers(scope=scope), scope.get("root_path", "")
    if scope.get("http_version", "1.1") not in ("1.0", "1.1"):
        raise BadRequest(VERSION)
    if len(scope["headers"]) > MOST_HEADERS or scope["query_string"].count(b"&") >= MOST_HEADERS:
        raise BadRequest(f"the request has too many headers or parameters: the limit is {MOST_HEADERS} of each")
    if long := [name for name in PARSED if sum(map(len, headers.getlist(name))) > PARSED_BYTES]:
        raise BadRequest(f"the header {long[0]} is too long: the limit is {PARSED_BYTES} bytes")
    if "transfer-encoding" in headers and "content-length" in headers:
        raise BadRequest(TWO_LENGTHS)
    if b"#" in scope["raw_path"] + scope["query_string"]:
        raise BadRequest(TARGET)
    target = scope["raw_path"].decode("latin-1").removeprefix(root)
    if not target.startswith("/") and target != "*":
        target = absolute_path(target)
        scope["path"], scope["raw_path"] = root + unquote(target), (root + target).encode("latin-1")
    if any(character < " " for character in scope["path"]):
        raise nothing_at(scope["path"])
    return str(scope["path"]).removeprefix(root)


def absolute_path(target: str) -> str:
    """The path of a target in absolute form (RFC 9112, section 3.2.2). Raises `BadRequest` if it is invalid."""
    with suppress(ValueError):  # of a host or a port
        parts = urlsplit(target)
        if parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0:
            return parts.path or "/"
    raise BadRequest(TARGET)


def trace_fields(headers: Sequence[str]) -> dict[str, str]:
    """`trace_id` and `parent_id` from a request's `traceparent` headers; empty unless there is exactly one, and it is valid.

    For log lines only.
    """
    match = TRACEPARENT.fullmatch(headers[0]) if len(headers) == 1 else None
    return match.groupdict() if match else {}


async def send_problem(scope: Scope, send: Send, problem: Problem) -> None:
    """Sends a problem as the answer, without the application, and closes the connection."""
    scope["state"]["answer_fields"] = problem.log
    body = json.dumps(document(type(problem), problem.detail, scope["state"]["request_id"])).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), "connection": "close", **problem.headers}
    await send({"type": "http.response.start", "status": problem.status, "headers": Headers(headers).raw})
    await send({"type": "http.response.body", "body": body})
