"""Sends a signed POST, as Standard Webhooks 1.0 describes, to an address whose origin the operator has named.

Nothing but the status of the answer is read, on the event loop: no redirect is followed, no proxy used, and a name is resolved
once, in threads that nothing else needs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import socket
import ssl
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

import h11

from app.keys import parse_secret
from app.origins import check_origins
from common.command_line import package_version

TIMEOUT_S = 10.0  # of one delivery, from the resolution of the name to the status
MOST_SILENT = 4  # addresses of a name that this time is enough for if none of them answers
MOST_ANSWER = 1 << 16  # bytes up to the status, with what comes before it (1xx)
ADDRESS = re.compile(r"https?://[!-\"$-\[\]-~]+")  # printable ASCII without # and a backslash
LONGEST = 2000  # letters of an address
PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """Where to send to. origin: as in the settings. target: path and query."""

    origin: str
    host: str
    port: int
    target: str


def parse_address(text: str, origins: Collection[str]) -> Address:
    """Reads an address whose origin is one of these. Raises `ValueError`, which does not show its path and query."""
    try:
        if not ADDRESS.fullmatch(text) or len(text) > LONGEST:
            raise ValueError
        parts = urlsplit(text)
        (origin,) = check_origins((f"{parts.scheme}://{parts.netloc}",))
        port = PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        form = f"http:// or https://, a host and a path, in at most {LONGEST} printable ASCII letters"
        raise ValueError(f"must be {form}, without a user, a fragment and backslashes") from None
    if origin not in origins:
        raise ValueError(f"SEGMENT_CALLBACK_ORIGINS of the service does not name {origin}; the operator can add it")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(origin, parts.hostname or "", port, target)


class Webhooks:
    """Sends to these origins, signed with this secret, as `parse_secret` reads it. Only for the event loop."""

    def __init__(self, origins: Collection[str], secret: str) -> None:
        self.origins, self._secret = origins, parse_secret(secret) if origins else b""
        self._resolvers = {origin: ThreadPoolExecutor(1, "webhook-name") for origin in origins}  # a dead name holds its own
        self._context = ssl.create_default_context() if any(each.startswith("https:") for each in origins) else None

    async def send(self, address: Address, id: str, body: bytes) -> int:
        """Posts a JSON body, and gives the status of the answer.

        Raises `OSError` (also `TimeoutError`) if there is none. It does not quote the answer, which may quote the address.
        """
        seconds = str(int(time.time()))
        digest = hmac.digest(self._secret, f"{id}.{seconds}.".encode() + body, hashlib.sha256)
        headers = {
            "Host": address.origin.partition("://")[2],
            "User-Agent": f"fcn-segment/{package_version()}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "webhook-id": id,
            "webhook-timestamp": seconds,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }
        request = h11.Request(method="POST", target=address.target, headers=list(headers.items()))
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await self._connect(address)
            try:
                connection = h11.Connection(h11.CLIENT, MOST_ANSWER)
                for part in (request, h11.Data(data=body), h11.EndOfMessage()):
                    writer.write(connection.send(part) or b"")
                await writer.drain()
                count = 0
                while not isinstance(event := connection.next_event(), h11.Response):
                    if event is h11.NEED_DATA:
                        data = await reader.read(4096)
                        count += len(data)
                        if count > MOST_ANSWER:
                            raise ConnectionError(f"the answer has more than {MOST_ANSWER} bytes before its status")
                        connection.receive_data(data)
                    elif isinstance(event, h11.ConnectionClosed):
                        raise ConnectionError("the connection was closed without an answer")
                return event.status_code
            except h11.RemoteProtocolError:
                raise ConnectionError("the answer is no HTTP/1.1") from None
            finally:
                writer.transport.abort()

    async def _connect(self, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to one of the addresses that the name has now. One that is silent does not take the time of all."""
        resolve, loop = socket.getaddrinfo, asyncio.get_running_loop()
        try:
            addresses = await loop.run_in_executor(
                self._resolvers[address.origin], lambda: resolve(address.host, address.port, type=socket.SOCK_STREAM)
            )
        except UnicodeError as error:
            raise ConnectionError("the host is no name that can be resolved") from error
        errors = list[OSError]()
        name = address.host.removesuffix(".") if address.origin.startswith("https:") else None
        tls = self._context if name else None
        for family, *_, (host, *_) in addresses:
            try:
                async with asyncio.timeout(TIMEOUT_S / min(MOST_SILENT, len(addresses))):
                    return await asyncio.open_connection(str(host), address.port, family=family, ssl=tls, server_hostname=name)
            except OSError as error:
                errors.append(error)
        raise errors[0]

    def close(self) -> None:
        for resolver in self._resolvers.values():
            resolver.shutdown(wait=False, cancel_futures=True)
