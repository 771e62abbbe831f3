"""The front, as a process of an image or a scene sees it: the process's side of `conversation.py`. It blocks."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np

from model.inference.merging import Logits
from model.inference.processes.frames import receive, send
from model.inference.processes.protocol import Drop, TaskDropped
from model.inference.runtime import Tile


class Front:
    """Any thread may send; one receives. Raises `OSError` when the front has ended."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._lock = channel, Lock()

    def send(self, head: Mapping[str, object], payload: bytes | memoryview = b"") -> None:
        with self._lock:
            send(self._channel, json.dumps(head).encode(), payload)

    def send_tile(self, tile: Tile) -> None:
        self.send({"kind": "tile", "shape": tile.shape}, np.ascontiguousarray(tile).data.cast("B"))

    def receive(self) -> tuple[Any, memoryview, list[int]]:
        """The next message, its bytes, and the descriptor of its file, if there is one. Raises `TaskDropped`."""
        head, payload, descriptors = receive(self._channel)
        message = pickle.loads(head)  # noqa: S301 (from the process that started this one)
        if isinstance(message, Drop):
            raise TaskDropped
        return message, payload, descriptors

    def receive_logits(self) -> Logits:
        """The logits of the next tile, in the order in which they were sent. Raises `TaskDropped`."""
        shape, payload, _ = self.receive()
        return np.frombuffer(payload, np.float32).reshape(shape)
