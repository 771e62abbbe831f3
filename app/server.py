"""uvicorn with a graceful stop: requests in flight end before the process does.

The process always ends, at the latest `GRACE_S` seconds after the drain's time is over.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.connections import KEEP_ALIVE_S, Connections
from app.parsing import MAX_HEAD_BYTES
from app.serving.service import Service
from app.sockets import BACKLOG, LARGEST_PORT, listen, make_room

log = logging.getLogger("segment")
READY_CHECK_S = 0.1
GRACE_S = 2.0  # seconds after the drain for stopping threads; then the process ends in any case


class DrainingServer(uvicorn.Server):
    """Exits on a signal or a failure. The first signal lets requests in flight finish; the second ends the process at once.

    After SIGTERM the service is not ready, but takes images for `lame_duck_s` seconds more; after SIGINT it does not. Then it
    refuses images, and requests in flight have `drain_s` seconds to finish.

    The thread named `end` runs the drain. If the process still runs `drain_s` + `GRACE_S` seconds after the drain began (as
    when a call into C does not return), it calls `end` with the exit status. The thread starts with the server, because threads
    may be impossible to start by the time that it is needed.
    """

    def __init__(self, config: uvicorn.Config, service: Service, end: Callable[[int], object]) -> None:
        super().__init__(config)
        self.service = service
        self.over = threading.Event()
        self._end = end
        self._stop = threading.Event()
        self._lame_duck_s = 0.0
        self._announcing: asyncio.Task[None] | None = None
        threading.Thread(target=self._drain, name="end", daemon=True).start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # uvicorn's backlog limits how many connections the event loop accepts at once; the system's queue is to be longer
        for listener in sockets or ():
            listener.listen(BACKLOG)
        if sockets:
            self._announcing = asyncio.create_task(self._announce(sockets[0].getsockname()[1]))
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.service.registry.reload)

    async def _announce(self, port: int) -> None:
        """Logs the service's address once it answers images."""
        while self.service.not_ready:
            await asyncio.sleep(READY_CHECK_S)
        log.info("open %s", browser_url(self.service.settings.host, port))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._announcing:
            self._announcing.cancel()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.ending:
            self._end(128 + sig)
            return
        self._lame_duck_s = self.service.settings.lame_duck_s if sig == signal.SIGTERM else 0.0
        self.service.ending = True
        self.service.draining = not self._lame_duck_s
        self._stop.set()

    def fail(self) -> None:
        """Drains and ends the process because the service has failed. Any thread may call it."""
        self._stop.set()

    @property
    def status(self) -> int:
        return 1 if self.service.failure or not self.started else 0

    def _drain(self) -> None:
        """Waits for a signal or a failure, drains, has uvicorn stop, and ends the process if it does not end by itself."""
        self._stop.wait()
        service = self.service
        fields = {"requests_in_flight": service.in_flight, "lame_duck_s": self._lame_duck_s, "failure": service.failure}
        log.info("draining", extra={"fields": fields})
        _wait(lambda: service.failure is not None, self._lame_duck_s)
        service.draining = True
        end = time.monotonic() + service.settings.drain_s
        _wait(lambda: not service.in_flight, service.settings.drain_s)
        # uvicorn gets the rest of the drain's time for answers that are still being sent
        self.config.timeout_graceful_shutdown = max(1, round(end - time.monotonic()))
        self.should_exit = True
        if not self.over.wait(max(0.0, end - time.monotonic()) + GRACE_S):
            self._end(self.status)


def serve(app: FastAPI, end: Callable[[int], object] = os._exit) -> int:
    """Runs the app of `create_app` until a signal or a failure; then calls `end` with the exit status, and returns it.

    The status is 1 if the network could not be loaded, the device is lost, the watchdog found a stall, or the port could not be
    opened (then `end` is not called); else 0. `end` is to end the process at once: the interpreter's normal exit would wait for
    threads in calls into C. The log's handlers flush each line, so none is lost.
    """
    service: Service = app.state.service
    settings = service.settings
    room = make_room()
    try:
        listener = listen(settings.host, settings.port)
    except (OSError, UnicodeError) as error:  # UnicodeError: the name cannot be encoded as a host's
        log.critical(
            "cannot listen on %s port %d: %s%s", settings.host, settings.port, error, _other_port(error, settings.port)
        )
        return 1
    connections = Connections(room.connections, service.clients)
    service.admission.max_requests, service.admission.most_files = room.requests, room.batch_files
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_config=None,
        access_log=False, server_header=False, root_path=settings.root_path, http=connections.protocol,  # type: ignore[arg-type]
        h11_max_incomplete_event_size=MAX_HEAD_BYTES, ws="none", backlog=room.at_once,
        proxy_headers=bool(settings.trusted_proxies), forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=max(1, round(settings.drain_s)), timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip
    server = DrainingServer(config, service, end)
    service.on_failure = server.fail
    with listener:
        log.info("listening", extra={"fields": {"host": settings.host, "port": listener.getsockname()[1]}})
        server.run(sockets=[listener])
    end(server.status)
    server.over.set()
    return server.status


def _other_port(error: Exception, port: int) -> str:
    """How to choose another port, if this one is in use or is kept for the system."""
    if not isinstance(error, OSError) or error.errno not in (errno.EADDRINUSE, errno.EACCES):
        return ""
    other = 8000 if error.errno == errno.EACCES else port + 1 if port < LARGEST_PORT else port - 1
    return f"; choose another port, as with SEGMENT_PORT={other}"


def browser_url(host: str, port: int) -> str:
    """The address at which a browser on this machine finds a service that listens on `host`."""
    local = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host)  # noqa: S104
    return f"http://{local or (f'[{host}]' if ':' in host else host)}:{port}"


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Waits until the condition holds, at most `seconds`."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
