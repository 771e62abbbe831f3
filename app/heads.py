"""HEAD wherever GET is answered; the server leaves the body out."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """ASGI middleware: routes see a HEAD as a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            seen = dict(scope, method="GET")
            await self.app(seen, receive, send)
            scope["route"] = seen.get("route")
            return
        await self.app(scope, receive, send)
