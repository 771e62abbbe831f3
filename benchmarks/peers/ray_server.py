"""A worker behind Ray Serve: the image as the request's body, the mask as PNG."""

# no `from __future__ import annotations`: Ray sends this class to its actors without names that only type hints use

import asyncio
import os
import signal
import threading
from types import FrameType

from benchmarks.harness.serving import free_port

# docs, "Enable High Throughput on Ray Serve": HAProxy (part of ray[serve]) instead of the proxy in Python, and the settings
# for it. Ray Serve reads these variables on import, and its actors read them too.
os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "1"
os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_SERVE_HAPROXY_METRICS_PORT"] = str(free_port())  # two of these servers run at once
os.environ["RAY_SERVE_HAPROXY_STATS_PORT"] = str(free_port())

import ray
from fastapi import FastAPI, Request, Response
from ray import serve

from benchmarks.peers.worker import WORKERS, port, worker
from model.inference.cores import available_cores

app = FastAPI()


# docs, "Resource Allocation": one replica for each core. Each replica gets one request more than it works on, so that the
# next one is there when the first ends.
@serve.deployment(
    num_replicas=WORKERS,
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=2,
    logging_config={"enable_access_log": False},
)
@serve.ingress(app)
class Segmentation:
    """One replica's segmenter. Docs, "Asyncio and Concurrency best practices": computation runs outside the event loop."""

    def __init__(self) -> None:
        self.worker = worker()

    @app.get("/health")
    async def health(self) -> str:
        return "ready"

    @app.post("/segment")
    async def segment(self, request: Request) -> Response:
        return Response(await asyncio.to_thread(self.worker.mask, await request.body()), media_type="image/png")


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
        # not `serve.shutdown`, which waits 30 s for requests to end
        ray.shutdown()


if __name__ == "__main__":
    main()
