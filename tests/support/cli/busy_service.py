"""A service that is full for the first requests."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Busy(ThreadingHTTPServer):
    """Answers 503 so many times, then 200."""

    def __init__(self, times: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.left = times
        self.asks = "7"
        self.paths: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Busy

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        busy, self.server.left = self.server.left > 0, self.server.left - 1
        body = b'{"title": "Not available now", "detail": "full"}' if busy else b"mask of " + self.headers["X-API-Key"].encode()
        self.send_response(503 if busy else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", self.server.asks)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
