"""Compares the services of two checkouts: the same settings, weights and requests, one request at a time."""

from __future__ import annotations

import io
import socket
import time
from contextlib import ExitStack, suppress
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from select import select
from typing import Any
from urllib.parse import urlsplit
from zipfile import ZipFile

from benchmarks.commits.differences import Parts, Report
from benchmarks.commits.requests import CASES, TABLES, Case, Facts, case
from benchmarks.harness.serving import service

Checkouts = tuple[Path, Path]
"""The former checkout and this one."""
FIXED: dict[str, Any] = {"runtime": "openvino", "device": "cpu", "precision": "float32", "threads": 1, "memory_mb": 1500}

PIECE = 1 << 16
PAUSE_S, QUIET_S, PATIENCE_S = 0.05, 2.0, 120.0
"""How long an answer may take between two pieces, on a connection that no side closes, and at most."""
LAST_TAG = b"THE-LAST-TAG"


class Client:
    """Asks one service. tag: the entity tag that it gave last, without its quotes."""

    def __init__(self, url: str) -> None:
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self.tag = b""

    def ask(self, case: Case) -> Parts:
        """Sends the request on a connection of its own; gives the parts of all answers to it."""
        stream_bytes = self._exchange([piece.replace(LAST_TAG, self.tag) for piece in case.pieces], case.ends)
        parts = parts_of(stream_bytes, case.pieces[0].startswith(b"HEAD "))
        self.tag = parts.get("header etag", self.tag).removeprefix(b"W/").strip(b'"')
        return parts

    def _exchange(self, pieces: list[bytes], ends: bool) -> bytes:
        stream_bytes = bytearray()
        with socket.create_connection(self.address, PATIENCE_S) as connection, suppress(ConnectionError):
            with suppress(ConnectionError):
                for piece in pieces:
                    for start in range(0, len(piece), PIECE):
                        if start and select([connection], [], [], 0)[0]:  # it answers before all has come
                            break
                        connection.sendall(piece[start : start + PIECE])
                    if piece is not pieces[-1]:
                        select([connection], [], [], PAUSE_S)
            connection.settimeout(PATIENCE_S if ends else QUIET_S)
            with suppress(TimeoutError):
                while data := connection.recv(PIECE):
                    stream_bytes += data
        return bytes(stream_bytes)


def parts_of(stream_bytes: bytes, is_head: bool = False) -> Parts:
    """The status line, headers and body of each answer; those behind the first one have their number before their names."""
    stream, parts, number = _Stream(stream_bytes), dict[str, bytes](), 0
    while (start := stream.tell()) < len(stream_bytes):
        before = f"{number} " if number else ""
        answer = HTTPResponse(stream, method="HEAD" if is_head else None)  # type: ignore[arg-type]
        try:
            answer.begin()
            parts[f"{before}body"] = answer.read()
        except (HTTPException, OSError, ValueError):
            return parts | {f"{before}bytes": stream_bytes[start:]}
        if b".problem.json" in parts[f"{before}body"]:  # in a zip, where the id of the request changes a checksum
            with ZipFile(io.BytesIO(parts.pop(f"{before}body"))) as file:
                parts |= {f"{before}member {name}": file.read(name) for name in file.namelist()}
        parts[f"{before}status"] = f"{answer.version} {answer.status} {answer.reason}".encode()
        for name in answer.headers:
            parts[f"{before}header {name.lower()}"] = ", ".join(answer.headers.get_all(name) or []).encode("latin-1")
        number += 1
    return parts


class _Stream(io.BytesIO):
    """A socket with these bytes, whose answers follow one another: none of them closes it."""

    def makefile(self, _: str) -> io.BytesIO:
        return self

    def close(self) -> None:
        pass


def compare_services(report: Report, checkouts: Checkouts, weights: Path, folder: Path, *, name: str) -> None:
    """Starts both services as the table `services.NAME` says, sends its requests, and ends both while they are asked.

    weights: the folder of the cheap networks. folder: gets the services' logs.
    """
    table = TABLES["services"][name]
    settings = FIXED | {"weights": f"{weights}/varied.safetensors,{weights}/narrow.safetensors"} | table.get("settings", {})
    with ExitStack() as stack:
        servers = [
            stack.enter_context(service(checkout=checkout, log=folder / f"{side}.log", **settings))
            for side, checkout in enumerate(checkouts)
        ]
        facts, clients = Facts(*(server.url for server in servers)), [Client(server.url) for server in servers]
        for each in (each for cases in table["cases"] for each in CASES[cases](facts)):
            report.add(each.kind, f"{name}: {each.name}", *(client.ask(each) for client in clients))
        if "lame_duck_s" in settings:
            for server in servers:
                server.process.terminate()
            ready = case("ending", "GET", "/health/ready")
            while any(b" 200 " in client.ask(ready)["status"] for client in clients):
                time.sleep(0.05)
            for each in (ready, case("ending", "POST", "/segment", content=b"")):
                report.add(each.kind, each.name, *(client.ask(each) for client in clients))


COMPARISONS = {name: partial(compare_services, name=name) for name in TABLES["services"]}
