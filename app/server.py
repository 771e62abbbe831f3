"""uvicorn with a graceful stop: on SIGTERM, requests in flight end before the process does."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.gate import gate
from app.resting import resting_loop
from app.service import Service

log = logging.getLogger("segment")
# longer than load balancers keep a connection that is idle, so that none sends into one that has just been closed
KEEP_ALIVE_S = 75
# a thread that is kept from the interpreter leaves its core idle for as long
SWITCH_S = 0.0001
# before the collector looks through them, which stops every thread: with Python's 700, over and over where requests wait
YOUNG_OBJECTS = 10_000


class DrainingServer(uvicorn.Server):
    """On the first signal refuses new images and waits up to `drain_s` for those in flight; on the second, stops."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, on an event loop that rests. Not on uvloop: it raises where a client has gone before its answer is
        written, and gains nothing measurable beside the network."""
        with asyncio.Runner(loop_factory=lambda: resting_loop(lambda: self.service.rest_s)) as runner:
            runner.run(self.serve(sockets))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.service.reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.draining:
            super().handle_exit(sig, frame)
            return
        self.service.draining = True
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def stop(self) -> None:
        self.should_exit = True

    def _drain(self) -> None:
        log.info("draining", extra={"fields": {"requests_in_flight": self.service.in_flight}})
        end = time.monotonic() + self.service.settings.drain_s
        while self.service.in_flight and time.monotonic() < end:
            time.sleep(0.02)
        # what is left is for answers that are made and still being sent
        self.config.timeout_graceful_shutdown = max(1, round(end - time.monotonic()))
        self.stop()


def serve(app: FastAPI) -> int:
    """Runs what `create_app` gave until a signal.

    Gives the exit status: 1 where the network could not be loaded, or the port not be had.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(YOUNG_OBJECTS)
    service: Service = app.state.service
    settings = service.settings
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False,
        root_path=settings.root_path, http=gate(app.state.door, service.metrics),
        timeout_graceful_shutdown=max(1, round(settings.drain_s)), timeout_keep_alive=KEEP_ALIVE_S, proxy_headers=True,
    )  # fmt: skip
    server = DrainingServer(config, service)
    service.on_failure = server.stop
    server.run()
    return 1 if service.failure or not server.started else 0
