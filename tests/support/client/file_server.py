"""Serves the files of a folder over HTTP, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from tests.support.http_servers import LoopbackServer, running


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    """The address below which the files of the folder are."""
    with running(LoopbackServer(partial(Quiet, directory=str(folder)))) as server:
        yield server.url
