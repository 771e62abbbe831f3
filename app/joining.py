"""A transport that writes an answer's head together with its body."""

from __future__ import annotations

import asyncio
from typing import Any

INFORMATIONAL = b"HTTP/1.1 1"


class JoiningTransport:
    """Keeps an answer's head until its body comes, so that both leave in one segment and wake the client once.

    `end` is to be called after each answer. All else is the transport's.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] = []
        self._begun = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._begun or data.startswith(INFORMATIONAL):
            self._transport.writelines([*self._held, data])
            self._held.clear()
        else:
            self._begun, self._held = True, [data]

    def write_whole(self, answer: bytes) -> None:
        """An answer that is complete."""
        self._transport.write(answer)

    def end(self) -> None:
        """The answer is complete, and the next may begin."""
        self._flush()
        self._begun = False

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            self._transport.writelines(self._held)
            self._held.clear()
