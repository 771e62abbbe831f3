"""Our predictor behind Ray Serve: the image as the request's body, the mask as PNG."""

# no `from __future__ import annotations`: Ray sends this class to its actors without the names that only hints use

import asyncio
import os
import signal
import threading
from types import FrameType

# docs, "Enable High Throughput on Ray Serve": HAProxy (which comes with ray[serve]) instead of the proxy in Python, and
# the settings that go with it; read when Ray Serve is imported, and by its actors
os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "1"
os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray  # type: ignore[import-not-found]
from fastapi import FastAPI, Request, Response
from ray import serve

from benchmarks.peers.predictor import BATCH, WAIT_S, Decoded, Model, port
from model.cores import available_cores
from model.segmentation import ClassMap

app = FastAPI()


# docs, "Resource Allocation": a replica a core; Ray sets OMP_NUM_THREADS to its num_cpus. Docs, "Dynamic Request
# Batching": a replica must be sent at least as many requests at once as make a batch; twice as many, so that the next
# batch is decoded while one is in the network.
@serve.deployment(
    num_replicas=available_cores(),
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=2 * BATCH,
    logging_config={"enable_access_log": False},
)
@serve.ingress(app)
class Segmentation:
    """One replica's model. Docs, "Asyncio and Concurrency best practices": what computes leaves the event loop for a thread."""

    def __init__(self) -> None:
        self.model = Model()

    @app.get("/health")
    async def health(self) -> str:
        return "ready"

    @app.post("/segment")
    async def segment(self, request: Request) -> Response:
        decoded = await asyncio.to_thread(self.model.decode, await request.body())
        class_map = await self.class_map(decoded)
        return Response(await asyncio.to_thread(self.model.encode, class_map), media_type="image/png")

    # docs, "Dynamic Request Batching"
    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_S)  # type: ignore[untyped-decorator]
    async def class_map(self, batch: list[Decoded]) -> list[ClassMap]:
        return await asyncio.to_thread(self.model.predict, batch)


def main() -> None:
    """Serves until SIGTERM."""
    number, stop = port(), threading.Event()
    ray.init(num_cpus=available_cores(), include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": number})
        serve.run(Segmentation.bind())  # type: ignore[attr-defined]

        def end(signum: int, frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, end)
        stop.wait()
    finally:
        # not `serve.shutdown`, which drains for 30 s
        ray.shutdown()


if __name__ == "__main__":
    main()
