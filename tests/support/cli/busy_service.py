"""A service that is full for the first requests."""

from __future__ import annotations

from tests.support import http_servers


class Busy(http_servers.LoopbackServer):
    """Answers 503 so many times, then 200."""

    def __init__(self, times: int) -> None:
        super().__init__(Handler)
        self.left = times
        self.asks = "7"
        self.paths: list[str] = []


class Handler(http_servers.Handler):
    server: Busy

    def post(self) -> None:
        self.body()
        self.server.paths.append(self.path)
        busy, self.server.left = self.server.left > 0, self.server.left - 1
        body = b'{"title": "Not available now", "detail": "full"}' if busy else b"mask of " + self.headers["X-API-Key"].encode()
        self.answer(503 if busy else 200, body, {"Retry-After": self.server.asks})
