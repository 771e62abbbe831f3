"""A proxy before the service, as sites have one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.support.polling import HANG_S
from tests.support.servers import over_http

KEPT_HEADERS = ("content-type", "content-security-policy", "retry-after")
OWN = ("host", "content-length", "connection")


class Proxy:
    """Takes the prefix away (of itself alone, a slash is left) and asks the service."""

    def __init__(self, target: str, prefix: str) -> None:
        self.target = target
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = scope["path"].removeprefix(self.prefix) or "/"
        if not scope["path"].startswith(self.prefix) or not path.startswith("/"):
            await Response("outside of the prefix", 404)(scope, receive, send)
            return
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        url = f"{self.target}{path}?{request.url.query}"
        headers = {name: value for name, value in request.headers.items() if name not in OWN}
        async with httpx.AsyncClient(verify=False, timeout=HANG_S) as client:
            answer = await client.request(request.method, url, headers=headers, content=body)
        answer_headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
        await Response(answer.content, answer.status_code, answer_headers)(scope, receive, send)


@contextmanager
def proxy_to(target: str, prefix: str) -> Iterator[str]:
    """The address at which the target answers through the proxy."""
    with over_http(Proxy(target, prefix)) as port:
        yield f"http://127.0.0.1:{port}{prefix}"
