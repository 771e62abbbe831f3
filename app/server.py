"""uvicorn with a graceful stop, its listening socket, and how many connections the limit on open files leaves room for.

Requests in flight end before the process does. It always ends, at the latest `GRACE_S` seconds after the drain's time is over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI

from app.connections import KEEP_ALIVE_S, MAX_HEAD_BYTES, Connections
from app.serving.service import Service
from model.inference.cores import available_memory
from model.inference.processes.workers import worker_count

log = logging.getLogger("segment")
READY_CHECK_S = 0.1
GRACE_S = 2.0  # seconds after the drain for stopping threads; then the process ends in any case
BACKLOG = 2048  # connections that the system queues until they are accepted
MOST_AT_ONCE = 64  # connections that the event loop accepts before its other work continues
MOST_CONNECTIONS = 2000
# of the front process and of the system's buffers, for a client that does not read
CONNECTION_BYTES = 128 << 10
CLIENTS_SHARE = 1 / 16  # of the memory that the process may use, for connections
UNSENT_BYTES = 1 << 16  # of an answer that the system keeps for a client, beside what is on its way
MOST_FILES = 1 << 16  # the soft limit on open files that the process sets, if the hard limit allows
OWN_FILES = 16  # open files of the runtime and of the process itself
WORKER_FILES = 3  # of each worker: its socket, its process, its answer
SILENT_S = 10  # seconds for which the system does not pass on a new connection that has sent nothing
UNREAD_S = 60  # seconds within which a client must acknowledge data that was sent to it
EVERY_ADDRESS, EVERY_IPV4 = "::", "0.0.0.0"  # noqa: S104


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
        threading.Thread(target=self._drain, name="end", daemon=True).start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # uvicorn's backlog limits how many connections the event loop accepts at once; the system's queue is to be longer
        for listener in sockets or ():
            listener.listen(BACKLOG)
            self._announcement = asyncio.create_task(self._announce(listener.getsockname()[1]))
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.service.registry.reload)

    async def _announce(self, port: int) -> None:
        """Logs the service's address once it answers images."""
        while self.service.not_ready:
            await asyncio.sleep(READY_CHECK_S)
        log.info("open %s", browser_url(self.service.settings.host, port))

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
        message = "cannot listen on %s port %d: %s; SEGMENT_HOST and SEGMENT_PORT choose others"
        log.critical(message, settings.host, settings.port, error)
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
        host, port, *_ = listener.getsockname()
        log.info("listening", extra={"fields": {"host": host, "port": port}})
        server.run(sockets=[listener])
    end(server.status)
    server.over.set()
    return server.status


def browser_url(host: str, port: int) -> str:
    """The address at which a browser on this machine finds a service that listens on `host`."""
    local = host in ("", EVERY_ADDRESS, EVERY_IPV4)
    return f"http://{'127.0.0.1' if local else f'[{host}]' if ':' in host else host}:{port}"


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Waits until the condition holds, at most `seconds`."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


class Room(NamedTuple):
    """How much the service takes at once: connections, connections that are accepted, requests with images, files of batches.

    Beyond the first limit, another connection is closed.
    """

    connections: int
    at_once: int
    requests: int
    batch_files: int


def make_room() -> Room:
    """Raises the soft limit on open files, within the hard limit, and returns the room for connections under it."""
    files = MOST_FILES
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
        if soft == resource.RLIM_INFINITY or soft >= files:
            files = MOST_FILES if soft == resource.RLIM_INFINITY else soft
        else:
            with suppress(OSError, ValueError):  # macOS may refuse a limit that its hard limit allows
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return room_in(files, available_memory(), worker_count())


def room_in(files: int, memory: int | None, workers: int) -> Room:
    """The room for connections and requests.

    files: the limit on open files. memory: bytes that the process may use, None if they are not known. workers: their number.
    A third of the files is for connections, one for images and answers of their requests, and one for the files of batches.
    A quarter of the connections is kept for requests without images, such as health checks.
    """
    at_once = max(1, min(MOST_AT_ONCE, files // 16))
    third = max(8, (files - OWN_FILES - WORKER_FILES * workers - at_once) // 3)
    connections = min(MOST_CONNECTIONS, third, int(CLIENTS_SHARE * memory) // CONNECTION_BYTES if memory else MOST_CONNECTIONS)
    return Room(connections, at_once, connections * 3 // 4, third)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this address, of any address family. Raises `OSError`.

    `::` takes IPv4 as well, and is every address of IPv4 where the system has no IPv6.
    If the system supports it, the system does not pass on a connection that has sent nothing for the first `SILENT_S` seconds.
    It drops a connection whose client acknowledges nothing, or reads nothing, for `UNREAD_S` seconds, and keeps few bytes for a
    client that reads slowly. Accepted connections inherit these options.
    """
    if host == EVERY_ADDRESS and not socket.has_dualstack_ipv6():
        host = EVERY_IPV4
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    takes_both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    listener = socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=takes_both)
    options = {"TCP_DEFER_ACCEPT": SILENT_S, "TCP_USER_TIMEOUT": 1000 * UNREAD_S, "TCP_NOTSENT_LOWAT": UNSENT_BYTES}
    for option, value in options.items():
        if hasattr(socket, option):
            with suppress(OSError):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return listener
