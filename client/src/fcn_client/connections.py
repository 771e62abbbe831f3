"""Gives each process, and with asyncio each event loop, connections of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import httpx

from fcn_client.address import VARIABLES

HttpClient = TypeVar("HttpClient")
Owner = tuple[int, asyncio.AbstractEventLoop | None]


class Connections(Generic[HttpClient]):
    """The httpx client of the process and event loop that asks for it.

    After a fork, parent and child have the same sockets, and one of them may read the answer to a request of the other. A
    connection of asyncio works in the event loop that opened it alone. So each process and each loop gets a client of its own.
    Several threads may use one object. It has no lock, because a lock that another thread holds during a fork is never
    released in the child.
    """

    def __init__(self, connect: Callable[[], HttpClient], url: httpx.URL, *, repeatable: bool) -> None:
        """connect: makes a client for this address, here the first one. repeatable: whether it may make another.

        It may not if the caller of the library gave a transport, whose connections would be shared. Raises `ValueError` if the
        environment's proxies or certificates cannot be used.
        """
        self._connect = connect
        self._repeatable = repeatable
        self._process = os.getpid()
        try:
            self._spare = [connect()]
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            where = f"{url.scheme}://{url.netloc.decode()}"
            raise ValueError(f"{VARIABLES} cannot be used for {where}: {error}; change or unset it") from error
        self._clients: dict[Owner, HttpClient] = {}
        self._is_closed = False

    def get(self, loop: asyncio.AbstractEventLoop | None = None) -> HttpClient:
        """The client of this process and of `loop`, the running event loop. Raises `RuntimeError` if there can be none."""
        if self._is_closed:
            raise RuntimeError("this client is closed; make a new one")
        owner = (os.getpid(), loop)
        if owner not in self._clients:
            self._forget_others(owner[0])
            self._clients.setdefault(owner, self._new(owner[0]))
        return self._clients[owner]

    def close(self, loop: asyncio.AbstractEventLoop | None = None) -> list[HttpClient]:
        """Refuses further calls. Returns the clients of this process and `loop`, which the caller closes."""
        self._is_closed = True
        process = os.getpid()
        client = self._clients.pop((process, loop), None)
        spare = self._spare if process == self._process else []
        return [*spare, *([] if client is None else [client])]

    def _new(self, process: int) -> HttpClient:
        if process == self._process:
            with suppress(IndexError):
                return self._spare.pop()
        if not self._repeatable:
            raise RuntimeError(
                "this client has a transport of its own, which another process or event loop cannot share; make a client there"
            )
        return self._connect()

    def _forget_others(self, process: int) -> None:
        """Drops the clients of other processes and of closed event loops, without closing what another process still uses."""
        for owner in list(self._clients):
            if owner[0] != process or (owner[1] is not None and owner[1].is_closed()):
                self._clients.pop(owner, None)
        if process != self._process:
            self._spare.clear()
