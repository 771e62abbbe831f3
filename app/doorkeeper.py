"""Who is refused at the door: when no image would be taken, none is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.engine_errors import EngineError
from app.errors import Problem, mapped
from app.handlers import on_problem

ARRIVAL = "arrival"
SOON_S = 2.0
PATIENCE_S = 1.0  # for a body's first bytes, before the refusal is sent


class Arrivals:
    """Bodies on their way. Those that began lately will ask for room at any moment; slow ones must not keep others out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: dict[object, float] = {}

    @property
    def soon(self) -> int:
        """How many began lately."""
        now = self._clock()
        return sum(now - began < SOON_S for began in self._began.values())

    def begin(self, scope: Scope) -> None:
        """This request's is on its way, until `end`."""
        scope["state"][ARRIVAL] = arrival = object()
        self._began[arrival] = self._clock()

    def end(self, scope: Scope) -> None:
        """It is here, or will not come; again and again is once, and who has not begun is let be."""
        self._began.pop(scope["state"].get(ARRIVAL), None)


class Door:
    """Asks by a request's head alone why an image would not be taken, for POSTs to one route.

    Of requests that come at once, each is asked for after those let in before it, whose bodies are on their way.
    """

    def __init__(self, route: BaseRoute, path: str, ask: Callable[[], EngineError | None], arrivals: Arrivals) -> None:
        self.route = route
        self.path = path
        self.ask = ask
        self.arrivals = arrivals

    def refusal(self, scope: Scope) -> Problem | None:
        """What `ask` gives, as a problem; the scope's route is then this one. Who is let in has begun its arrival, and is not
        asked for again."""
        if scope["method"] != "POST" or not scope["path"].endswith(self.path) or ARRIVAL in scope["state"]:
            return None
        if error := self.ask():
            scope["route"] = self.route
            return mapped(error)
        self.arrivals.begin(scope)
        return None


class Doorkeeper:
    """ASGI middleware: answers what the door refuses, before it is routed, parsed or read.

    A refusal is then cheap, so that many of them leave the cores to those who were let in.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app = app
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif problem := self.door.refusal(scope):
            await _let_go(scope, receive)
            response = await on_problem(Request(scope), problem)
            await response(scope, receive, send)
        else:
            try:
                await self.app(scope, receive, send)
            finally:
                self.door.arrivals.end(scope)


async def _let_go(scope: Scope, receive: Receive) -> None:
    """Takes what has come of the body, which would else stay in memory for as long as the client keeps its connection."""
    if "expect" in Headers(scope=scope):
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await receive()
