"""Our predictor behind BentoML: the image as the request's body (a "root input"), the mask as PNG.

A batchable API takes and gives lists, which over HTTP are JSON or multipart; that no list of PNG files is. Hence the
two services of the docs' "Adaptive batching" (figure of ServiceOne and ServiceTwo): one speaks HTTP, and hands single
images to the other, whose dispatcher makes batches of them. Between the two, BentoML sends pickles over a Unix socket.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import bentoml  # type: ignore[import-not-found]
from bentoml.validators import ContentType  # type: ignore[import-not-found]

from benchmarks.peers.predictor import BATCH, Model, port

PATIENCE_S = 120
QUIET = {"access": {"enabled": False}}


# docs, "Parallelize requests handling": workers="cpu_count" for CPU-bound work. One thread a worker then fills the cores
# (PyTorch docs, "CPU threading"); the variable has to be there before torch is.
@bentoml.service(
    workers="cpu_count",
    envs=[{"name": "OMP_NUM_THREADS", "value": "1"}],
    traffic={"timeout": PATIENCE_S},
    logging=QUIET,
    # by default the door closes its connections after 100 requests, those in flight included, which then fail with 500
    # (BentoML's issue 5540, since its pull request 5522)
    runner_connection={"max_requests": 10**9, "max_age": 1e9},
)
class Network:
    """Decodes, segments and encodes in batches."""

    def __init__(self) -> None:
        self.model = Model()

    # docs, "Adaptive batching": the dispatcher learns how long to wait; above max_latency_ms it would refuse requests
    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=1000 * PATIENCE_S)  # type: ignore[untyped-decorator]
    def masks(self, images: list[bytes]) -> list[bytes]:
        batch = [self.model.decode(data) for data in images]
        return [self.model.encode(class_map) for class_map in self.model.predict(batch)]


@bentoml.service(traffic={"timeout": PATIENCE_S}, logging=QUIET)
class Segmentation:
    """The door: POST /segment."""

    network = bentoml.depends(Network)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def segment(
        self, image: Annotated[bytes, ContentType("image/jpeg")], /
    ) -> Annotated[bytes, ContentType("image/png")]:
        # docs, "Adaptive batching", on wrappers: one image of a batch, awaited
        masks: list[bytes] = await self.network.to_async.masks([image])
        return masks[0]


def main() -> None:
    """Becomes `bentoml serve`, which ends with its workers on SIGTERM."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    service = "benchmarks.peers.bentoml_server:Segmentation"
    command = [sys.executable, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port())]
    # once in a while a worker that started slowly waits forever for its health checks to end
    os.execv(sys.executable, [*command, "--timeout-graceful-shutdown", "5"])


if __name__ == "__main__":
    main()
