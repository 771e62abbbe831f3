"""A worker behind LitServe: the image as the request's body, the mask as PNG.

LitServe's own request handling takes only JSON and forms. It passes the type hint of `decode_request` to FastAPI, however
(docs, "Request, response format"), and FastAPI takes bodies as bytes.
"""

# no `from __future__ import annotations`: LitServe reads the hints of `decode_request` and `encode_response` as objects

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import litserve as ls  # type: ignore[import-not-found]
from fastapi import Body, Response

from benchmarks.peers.worker import WORKERS, port, worker


class Segmentation(ls.LitAPI):  # type: ignore[misc]
    """One worker's segmenter; LitServe calls these methods in order."""

    def setup(self, device: str) -> None:
        self.worker = worker()

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/*")]) -> bytes:
        return request

    def predict(self, x: bytes) -> bytes:
        return self.worker.mask(x)

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/png")


def main() -> None:
    """Serves until SIGTERM."""
    number, parent = port(), os.getpid()
    # LitServer's reference on workers_per_device: "for CPU, set to the number of cores". fast_queue stays off: the same page
    # says that it is for more than 100 requests a second. timeout: requests may wait longer than the default of 30 s.
    server = ls.LitServer(Segmentation(api_path="/segment"), accelerator="cpu", workers_per_device=WORKERS, timeout=120)

    def end(signum: int, frame: FrameType | None) -> None:
        # LitServe ends cleanly on SIGINT; its child processes inherit this handler
        if os.getpid() == parent:
            raise KeyboardInterrupt
        sys.exit()

    signal.signal(signal.SIGTERM, end)
    # num_api_servers keeps its recommended default, the number of workers
    server.run(host="127.0.0.1", port=number, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
