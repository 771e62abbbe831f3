"""A worker behind BentoML: the image as the request's body, the mask as PNG."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import bentoml  # type: ignore[import-not-found]
from bentoml.validators import ContentType  # type: ignore[import-not-found]

from benchmarks.peers.worker import WORKERS, port, worker


# docs, "Parallelize requests handling": workers=WORKERS for CPU-bound work
# docs, "Define input and output types": a single positional argument is the whole body
@bentoml.service(workers=WORKERS, traffic={"timeout": 120}, logging={"access": {"enabled": False}})
class Segmentation:
    """One worker's segmenter: POST /segment."""

    def __init__(self) -> None:
        self.worker = worker()

    @bentoml.api  # type: ignore[untyped-decorator]
    def segment(self, image: Annotated[bytes, ContentType("image/jpeg")], /) -> Annotated[bytes, ContentType("image/png")]:
        return self.worker.mask(image)


def main() -> None:
    """Replaces this process with `bentoml serve`, which ends with its workers on SIGTERM."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    service = "benchmarks.peers.bentoml_server:Segmentation"
    command = [sys.executable, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port())]
    # without a timeout, a worker that started slowly sometimes waits forever for its health checks to end
    os.execv(sys.executable, [*command, "--timeout-graceful-shutdown", "5"])


if __name__ == "__main__":
    main()
