"""What a framework's server does, by Python's own HTTP server: for the comparison's test."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.peers.worker import Worker, port


class Handler(BaseHTTPRequestHandler):
    worker: Worker
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"ready")

    def do_POST(self) -> None:
        self._answer(self.worker.mask(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Handler.worker = Worker()
    ThreadingHTTPServer(("127.0.0.1", port()), Handler).serve_forever()
