"""Gives each process, and with asyncio each event loop, connections of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
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
        self._connect, self._repeatable, self._is_closed = connect, repeatable, False
        try:
            # of no loop yet: the first loop that asks takes it
            self._clients: dict[Owner, HttpClient] = {(os.getpid(), None): connect()}
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            where = f"{url.scheme}://{url.netloc.decode()}"
            raise ValueError(f"{VARIABLES} cannot be used for {where}: {error}; change or unset it") from error

    def get(self, loop: asyncio.AbstractEventLoop | None = None) -> HttpClient:
        """The client of this process and of `loop`, the running event loop. Raises `RuntimeError` if there can be none."""
        if self._is_closed:
            raise RuntimeError("this client is closed; make a new one")
        owner = (os.getpid(), loop)
        if owner not in self._clients:
            self._forget_others(owner[0])
            client = self._clients.pop((owner[0], None), None) if loop else None
            if client is None and not self._repeatable:
                raise RuntimeError(
                    "this client has a transport of its own, which another process or event loop cannot share; make a client "
                    "there"
                )
            self._clients.setdefault(owner, self._connect() if client is None else client)
        return self._clients[owner]

    def close(self, loop: asyncio.AbstractEventLoop | None = None) -> list[HttpClient]:
        """Refuses further calls. Returns the clients of this process and `loop`, which the caller closes."""
        self._is_closed = True
        owners = {(os.getpid(), None), (os.getpid(), loop)}
        return [self._clients.pop(owner) for owner in owners if owner in self._clients]

    def _forget_others(self, process: int) -> None:
        """Drops the clients of other processes and of closed event loops, without closing what another process still uses."""
        for owner in list(self._clients):
            if owner[0] != process or (owner[1] is not None and owner[1].is_closed()):
                self._clients.pop(owner, None)
