"""A process that a scene took over: it says what the scene's file has, a line for each message, and ends or waits."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path

from model.inference.processes.conversation import receive, send


def main(descriptor: int, parent: int) -> None:
    channel = socket.socket(fileno=descriptor)
    task = pickle.loads(receive(channel)[0])
    for line in Path(task.requests[0].source).read_bytes().splitlines():
        send(channel, line)
    channel.recv(1)
