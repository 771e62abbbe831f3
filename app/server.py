"""uvicorn with a graceful stop: on SIGTERM, requests in flight end before the process does."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.serving.service import Service

log = logging.getLogger("segment")
# longer than load balancers keep a connection that is idle, so that none sends into one that has just been closed
KEEP_ALIVE_S = 75
BACKLOG = 2048


class DrainingServer(uvicorn.Server):
    """On the first signal refuses new images and waits up to `drain_s` for those in flight; on the second, ends at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.service.reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.draining:
            self.force_exit = True
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

    Gives the exit status: 1 where the network could not be loaded, the device is lost, or the port could not be had.
    """
    service: Service = app.state.service
    settings = service.settings
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        log.critical("cannot listen on %s port %d: %s", settings.host, settings.port, error)
        return 1
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False,
        root_path=settings.root_path, http="h11", ws="none", loop="asyncio", proxy_headers=True,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)), timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip
    server = DrainingServer(config, service)
    service.on_failure = server.stop
    with listener:
        log.info("listening", extra={"fields": {"host": settings.host, "port": listener.getsockname()[1]}})
        server.run(sockets=[listener])
    return 1 if service.failure or not server.started else 0


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket on this address, of whichever family it is; raises `OSError`."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
