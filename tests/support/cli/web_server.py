"""A web server on this machine, with images and with what is none."""

from __future__ import annotations

from collections import Counter

from tests.support import http_servers


class WebServer(http_servers.LoopbackServer):
    """Serves `files` by their paths, without the query.

    tags: the entity tags of paths; others have none. headers: further ones of paths. `/moved/PATH` leads to `/PATH`, `/circle`
    to itself, `/page` is HTML, and `/empty` is empty. counts: requests by method and path.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(Handler)
        self.files, self.tags = files, dict[str, str]()
        self.headers = dict[str, dict[str, str]]()
        self.counts = Counter[str]()


class Handler(http_servers.Handler):
    server: WebServer

    def get(self) -> None:
        path = self.path.partition("?")[0]
        self.server.counts[f"{self.command} {path}"] += 1
        if path == "/circle" or path.startswith("/moved/"):
            self.answer(302, b"", {"Location": path.removeprefix("/moved")} | self.server.headers.get(path, {}))
        elif path == "/page":
            self.answer(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"})
        elif path == "/empty" or path in self.server.files:
            tag = self.server.tags.get(path)
            headers = self.server.headers.get(path, {}) | ({"ETag": tag} if tag else {})
            self.answer(200, self.server.files.get(path, b""), headers)
        else:
            self.answer(404, b"none")
