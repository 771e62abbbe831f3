"""uvicorn's HTTP protocol with two economies: a refusal takes no task, and an answer is written at once."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.doorkeeper import Door
from app.errors import Problem
from app.handlers import problem_response
from app.joining import JoiningTransport
from app.telemetry import REQUEST_ID, Metrics, account, sane_request_id


class Gate(HttpToolsProtocol):
    """Answers what the door refuses as soon as its head is here; of a body that follows, nothing is kept.

    What the ASGI stack alone can answer goes there, where a `Doorkeeper` refuses it.
    """

    door: Door
    metrics: Metrics

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joining = JoiningTransport(transport)
        super().connection_made(cast(asyncio.Transport, self._joining))

    def on_response_complete(self) -> None:
        self._joining.end()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        started, scope = time.perf_counter(), cast(Scope, cycle.scope)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        # a client that reads no answers is waited for, and a page of another origin told that it may read this one
        if self.flow.write_paused or b"origin" in headers or not (problem := self.door.refusal(scope)):
            super()._start_asgi_task(cycle, app)
            return
        request_id = sane_request_id(headers.get(REQUEST_ID.encode(), b"").decode("latin-1"))
        self._answer(cycle, problem, request_id)
        scope["state"]["log"] = {"detail": problem.detail}
        account(self.metrics, scope, request_id, problem.status, time.perf_counter() - started)

    def _answer(self, cycle: RequestResponseCycle, problem: Problem, request_id: str) -> None:
        response = problem_response(type(problem), problem.detail, problem.headers, request_id)
        headers = [*cycle.default_headers, *response.raw_headers]
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        cycle.response_started = cycle.response_complete = True
        self.transport.write(STATUS_LINE[problem.status] + lines + b"\r\n" + bytes(response.body))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        cycle.on_response = _nothing  # it holds this protocol, which holds the cycle


def _nothing() -> None: ...


def gate(door: Door, metrics: Metrics) -> type[Gate]:
    """uvicorn's `http` with this door."""
    return type(Gate.__name__, (Gate,), {"door": door, "metrics": metrics})
