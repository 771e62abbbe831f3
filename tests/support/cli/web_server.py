"""A web server on this machine, with images and with what is none."""

from __future__ import annotations

from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebServer(ThreadingHTTPServer):
    """Serves `files` by their paths, without the query.

    tags: the entity tags of paths; others have none. `/moved/PATH` leads to `/PATH`, `/circle` to itself, `/page` is HTML, and
    `/empty` is empty. asked: counts requests by method and path.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.tags = files, dict[str, str]()
        self.asked = Counter[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked[f"{self.command} {path}"] += 1
        if path == "/circle" or path.startswith("/moved/"):
            self._answer(302, b"", Location=path.removeprefix("/moved"))
        elif path == "/page":
            self._answer(200, b"<html>", **{"Content-Type": "text/html; charset=utf-8"})
        elif path == "/empty" or path in self.server.files:
            tag = self.server.tags.get(path)
            self._answer(200, self.server.files.get(path, b""), **({"ETag": tag} if tag else {}))
        else:
            self._answer(404, b"none")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
