"""What a framework's server does, by Python's own HTTP server: for the comparison's test."""

from __future__ import annotations

from http.server import ThreadingHTTPServer

from benchmarks.peers.worker import SegmenterWorker, port
from tests.support import http_servers


class Handler(http_servers.Handler):
    worker: SegmenterWorker
    protocol_version = "HTTP/1.1"

    def get(self) -> None:
        self.answer(200, b"ready")

    def post(self) -> None:
        self.answer(200, self.worker.mask(self.body()))


if __name__ == "__main__":
    Handler.worker = SegmenterWorker()
    ThreadingHTTPServer(("127.0.0.1", port()), Handler).serve_forever()
