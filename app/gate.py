"""uvicorn's HTTP protocol with three economies: a refusal takes no task, a small body and an answer come and go at once."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.doorkeeper import Door
from app.errors import MEDIA_TYPE, Problem
from app.handlers import problem_body
from app.jobs import AT_ONCE_BYTES
from app.joining import JoiningTransport
from app.telemetry import REQUEST_ID, Metrics, account, sane_request_id

HEAD_END = b"\r\n\r\n"
LONGEST_HEAD = 1 << 13  # that is looked for; a longer one is parsed with what follows it
READ = 1 << 20  # bytes at once: nearly every photo is here by one read
ID = REQUEST_ID.encode()


class _Answered:
    """Stands where uvicorn keeps the request under way: what comes of its body is dropped."""

    response_complete = True
    message_event = asyncio.Event()


ANSWERED = _Answered()


class Gate(HttpToolsProtocol, asyncio.BufferedProtocol):
    """Answers what the door refuses as soon as its head is here; of a body that follows, nothing is kept, and no memory is
    asked for.

    What the ASGI stack alone can answer goes there, where a `Doorkeeper` refuses it.
    """

    door: Door
    metrics: Metrics
    buffer: bytearray  # of all connections: what is read is parsed before the next is
    _refused_bytes = 0  # of a body, still to come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joining = JoiningTransport(transport)
        super().connection_made(cast(asyncio.Transport, self._joining))

    def on_response_complete(self) -> None:
        self._joining.end()
        super().on_response_complete()

    def on_headers_complete(self) -> None:
        if not self._refused():
            super().on_headers_complete()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        start = self._drop(0, nbytes)
        if start < nbytes:
            self._parse(start, nbytes)
        self._close_when_idle()

    def _parse(self, start: int, stop: int) -> None:
        """First as far as a head goes: a refused body that follows is passed over, which the parser would copy."""
        found = self.buffer.find(HEAD_END, start, min(stop, start + LONGEST_HEAD))
        end = stop if found < 0 else found + len(HEAD_END)
        self._feed(start, end)
        end = self._drop(end, stop)
        if end < stop and not self.transport.is_closing():
            self._feed(end, stop)

    def _feed(self, start: int, stop: int) -> None:
        self.data_received(cast(bytes, memoryview(self.buffer)[start:stop]))
        if self._refused_bytes:  # the parser waits for them, and is to see what comes after them
            self.parser = _parser(self)

    def _drop(self, start: int, stop: int) -> int:
        """Where what is kept begins."""
        dropped = min(self._refused_bytes, stop - start)
        self._refused_bytes -= dropped
        return start + dropped

    def _close_when_idle(self) -> None:
        """As uvicorn does after an answer; of what goes on after that, such as the body of a request that was refused, it
        takes the first bytes for a new request."""
        idle = self.cycle and self.cycle.response_complete and not self.transport.is_closing()
        if idle and not self.timeout_keep_alive_task:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_body(self, body: bytes) -> None:
        """A small body wakes its request's task once, when all of it is here; a larger one a piece of some size at a time."""
        cycle = self.cycle
        if cycle.response_complete or self.parser.should_upgrade():
            self._refused_bytes = max(0, self._refused_bytes - len(body))
            super().on_body(body)
            return
        cycle.body += body
        if len(cycle.body) > AT_ONCE_BYTES:
            self.flow.pause_reading()
            cycle.message_event.set()

    def _refused(self) -> bool:
        started, scope = time.perf_counter(), cast(Scope, self.scope)
        headers = dict(self.headers)
        # a client that reads no answers is waited for, and a page of another origin told that it may read this one
        if self.flow.write_paused or b"origin" in headers or (self.cycle and not self.cycle.response_complete):
            return False
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["path"] = self.root_path + self.url.partition(b"?")[0].decode("latin-1")
        if self.parser.should_upgrade() or not (problem := self.door.refusal(scope)):
            return False
        request_id = sane_request_id(headers.get(ID, b"").decode("latin-1"))
        scope["state"]["log"] = {"detail": problem.detail}
        self._answer(problem, request_id)
        self._refused_bytes = int(headers.get(b"content-length", 0))
        account(self.metrics, scope, request_id, problem.status, time.perf_counter() - started)
        return True

    def _answer(self, problem: Problem, request_id: str) -> None:
        body = problem_body(type(problem), problem.detail, request_id)
        headers = {"content-length": str(len(body)), "content-type": MEDIA_TYPE, **problem.headers, REQUEST_ID: request_id}
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        if not keep_alive:
            headers["connection"] = "close"
        standing = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        own = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
        self.cycle = cast(RequestResponseCycle, ANSWERED)
        self._joining.write_whole(b"".join((STATUS_LINE[problem.status], standing, own, b"\r\n", body)))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()


def _parser(protocol: Gate) -> httptools.HttpRequestParser:
    """As uvicorn's own."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def gate(door: Door, metrics: Metrics) -> type[Gate]:
    """uvicorn's `http` with this door."""
    return type(Gate.__name__, (Gate,), {"door": door, "metrics": metrics, "buffer": bytearray(READ)})
