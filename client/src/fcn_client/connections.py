"""Gives each process and each event loop of asyncio an httpx client of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Generic, TypeVar

import httpx

from fcn_client.address import VARIABLES

HttpClient = TypeVar("HttpClient")
Owner = tuple[int, asyncio.AbstractEventLoop | None]
"""The id of a process, and its event loop; None for calls without asyncio, and for a client that no loop has taken yet."""


class Connections(Generic[HttpClient]):
    """The httpx clients of the library, one for each process and event loop.

    After a fork, parent and child share the sockets, and one of them may read the answer to a request of the other. A
    connection of asyncio works only in the event loop that opened it. So each process and each loop gets a client of its own.
    Several threads may use one object. It has no lock: a lock that one thread holds while another forks stays locked in the
    child for ever.
    """

    def __init__(self, connect: Callable[[], HttpClient], url: httpx.URL, *, repeatable: bool) -> None:
        """Makes the first client. connect: makes a client for this address. repeatable: whether `connect` may be called again.

        `repeatable` is false if the user of the library gave a transport: two clients would share its connections. Raises
        `ValueError` if the environment's proxies or certificates cannot be used.
        """
        self._connect, self._repeatable, self._is_closed = connect, repeatable, False
        try:
            # no loop has this client yet: the first loop that asks takes it
            self._clients: dict[Owner, HttpClient] = {(os.getpid(), None): connect()}
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            where = f"{url.scheme}://{url.netloc.decode()}"
            raise ValueError(f"{VARIABLES} cannot be used for {where}: {error}; change or unset it") from error

    def get(self, loop: asyncio.AbstractEventLoop | None = None) -> HttpClient:
        """The client of this process and of `loop`, the running event loop.

        Raises `RuntimeError` after `close`, and if a second client is needed and may not be made.
        """
        if self._is_closed:
            raise RuntimeError("this client is closed; make a new one")
        owner = (os.getpid(), loop)
        if owner not in self._clients:
            self._forget_others()
            client = self._clients.pop((os.getpid(), None), None) if loop else None
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

    def _forget_others(self) -> None:
        """Drops the clients of other processes and of closed event loops. Closes none: another process may still use it."""
        for process, loop in list(self._clients):
            if process != os.getpid() or (loop is not None and loop.is_closed()):
                self._clients.pop((process, loop), None)
