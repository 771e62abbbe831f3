"""uvicorn with a graceful stop: requests in flight end before the process does, which always ends, at the latest `GRACE_S`
after the drain's time."""

from __future__ import annotations

import asyncio
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

from app.connections import KEEP_ALIVE_S, MAX_HEAD_BYTES, Connections
from app.serving.service import Service
from app.sockets import BACKLOG, listen, make_room

log = logging.getLogger("segment")
GRACE_S = 2.0  # after the drain, for what stops the threads; then the process ends all the same


class DrainingServer(uvicorn.Server):
    """Ends on a signal or a failure: on the first signal after requests in flight have ended, on the second at once.

    SIGTERM: not ready from now on; images are still taken for `lame_duck_s`, which SIGINT leaves out. Then they are refused,
    and those in flight have `drain_s`. The thread `end` sees to that, and calls `end` with the exit status where the process is
    still there `drain_s` + `GRACE_S` after the drain began, as where a call into C does not come back. It is started with the
    server: when threads cannot be started any more, it is there.
    """

    def __init__(self, config: uvicorn.Config, service: Service, end: Callable[[int], object]) -> None:
        super().__init__(config)
        self.service = service
        self.over = threading.Event()
        self._end = end
        self._asked = threading.Event()
        self._lame_duck_s = 0.0
        threading.Thread(target=self._see_to_the_end, name="end", daemon=True).start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():  # the event loop accepts so many at once as its backlog; the system's is longer
            listener.listen(BACKLOG)
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.service.reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.ending:
            self._end(128 + sig)
            return
        self._lame_duck_s = self.service.settings.lame_duck_s if sig == signal.SIGTERM else 0.0
        self.service.ending = True
        self.service.draining = not self._lame_duck_s
        self._asked.set()

    def fail(self) -> None:
        """The service has failed: what waits is answered, and the process ends. For any thread."""
        self._asked.set()

    @property
    def status(self) -> int:
        return 1 if self.service.failure or not self.started else 0

    def _see_to_the_end(self) -> None:
        self._asked.wait()
        service = self.service
        fields = {"requests_in_flight": service.in_flight, "lame_duck_s": self._lame_duck_s, "failure": service.failure}
        log.info("draining", extra={"fields": fields})
        _wait(lambda: service.failure is not None, self._lame_duck_s)
        service.draining = True
        end = time.monotonic() + service.settings.drain_s
        _wait(lambda: not service.in_flight, service.settings.drain_s)
        # what is left is for answers that are made and still being sent
        self.config.timeout_graceful_shutdown = max(1, round(end - time.monotonic()))
        self.should_exit = True
        if not self.over.wait(max(0.0, end - time.monotonic()) + GRACE_S):
            self._end(self.status)


def serve(app: FastAPI, end: Callable[[int], object] = os._exit) -> int:
    """Runs what `create_app` gave until a signal or a failure; then calls `end` with the exit status, and returns it.

    1: the network could not be loaded, the device is lost, the watchdog saw something stuck, or the port could not be had (then
    `end` is not called). `end` is to end the process at once: the interpreter's own end would wait for threads in calls into C,
    as for an image that is decoded for nobody. The log's handlers write each line out, so that none is lost.
    """
    service: Service = app.state.service
    settings = service.settings
    room = make_room()
    try:
        listener = listen(settings.host, settings.port)
    except (OSError, UnicodeError) as error:  # the latter for a name that is no host's
        log.critical("cannot listen on %s port %d: %s", settings.host, settings.port, error)
        return 1
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_config=None,
        access_log=False, server_header=False, root_path=settings.root_path, http=Connections(room.connections).protocol,  # type: ignore[arg-type]

        h11_max_incomplete_event_size=MAX_HEAD_BYTES, ws="none", loop="asyncio", proxy_headers=True, backlog=room.at_once,
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


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Until it holds, for so many seconds at most."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
