"""Clients that would take the service away from others: `python -m tests.support.app.attacks KIND PORT` repeats one kind.

It runs until it is ended, at the lowest priority, so that what others wait for is the service's own work. It writes each
answer's status. Its address is 127.0.0.2, or a new one of 127.0.0.0/8 for each request.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http.client import HTTPConnection
from itertools import count

import numpy as np
from PIL import Image

from imaging.formats.tiff import MOST_PAGES
from tests.support.app.exchanges import PHOTO
from tests.support.imaging.scenes import scene_file
from tests.support.polling import HANG_S

SIGN = b"\x89PNG\r\n\x1a\n"
PORT = int(sys.argv[2]) if __name__ == "__main__" else 0
FORM = {"Content-Type": "multipart/form-data; boundary=B"}
numbers = count(256 + 3)


def send(path: str, body: bytes, headers: dict[str, str] | None = None, *, method: str = "POST", is_new: bool = False) -> bytes:
    """The answer's body; its status is written."""
    number = next(numbers)
    address = f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}" if is_new else "127.0.0.2"
    connection = HTTPConnection("127.0.0.1", PORT, timeout=HANG_S, source_address=(address, 0))
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    print(answer.status, flush=True)
    return data


def form(names: Iterable[bytes], content: bytes = SIGN) -> bytes:
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="'
    return b"".join(head + name + b'"\r\n\r\n' + content + b"\r\n" for name in names) + b"--B--\r\n"


def sent_form(names: Iterable[bytes], path: str = "/jobs?output=jsonl", content: bytes = SIGN) -> Callable[[], object]:
    body = form(names, content)
    return lambda: send(path, body, FORM)


def tables() -> Callable[[], object]:
    """A TIFF of 11 MB: as many pages as are looked at, each a mask whose strips' tables are long."""
    strips, head = 21_000, 2 + 6 * 12 + 4
    data, pages = bytearray(struct.pack("<2sHI", b"II", 42, 8)), range(1, MOST_PAGES + 1)
    for page in pages:
        table = 8 + MOST_PAGES * head + (page - 1) * 8 * strips
        tags = {254: (1, 4), 256: (1, 1), 257: (1, strips), 273: (strips, table), 278: (1, 1), 279: (strips, table + 4)}
        data += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, *value) for tag, value in tags.items())
        data += struct.pack("<I", 8 + page * head if page < MOST_PAGES else 0)
    body = bytes(data) + b"\1\0\0\0" * (2 * strips * MOST_PAGES)
    return lambda: (send("/jobs?output=tif", body), send("/segment", body))


def huge_photos() -> Callable[[], object]:
    Image.new("RGB", (9600, 9600), (90, 120, 60)).save(file := io.BytesIO(), "JPEG", quality=60)
    return sent_form([b"a.jpg"] * 2, "/jobs?output=zip&side=native", file.getvalue())


def row() -> Callable[[], object]:
    """A scene that is one row of tiles."""
    body = scene_file(np.zeros((500, 60_000, 3), np.uint8), tiled=True, compress="deflate")
    return lambda: send("/jobs?output=tif", body)


def claim() -> None:
    """A body that is announced to have 16 GB, and comes as slowly as it may."""
    with socket.create_connection(("127.0.0.1", PORT), source_address=("127.0.0.2", 0)) as connection:
        head = "POST /jobs?output=zip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 16384000000\r\n"
        connection.sendall(f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\n".encode() + form([b"a"])[:-8])
        print(100, flush=True)
        for _ in range(600):
            connection.sendall(bytes(1200))
            time.sleep(0.1)


def dismissed() -> None:
    if id := json.loads(send("/jobs?output=zip", form([b"a.png"]), FORM)).get("jobID"):
        send(f"/jobs/{id}", b"", method="DELETE")


KINDS: dict[str, tuple[int, Callable[[], Callable[[], object]]]] = {
    "equal_names": (1, lambda: sent_form(["\U0001f600".encode() * 251 + b".jpg"] * 10_000)),
    "short_names": (1, lambda: sent_form([b"a.png"] * 3000)),
    "long_names": (6, lambda: sent_form([b"a" * 4000] * 100, content=b"x")),
    "tables": (2, tables),
    "claims": (4, lambda: claim),
    "huge_photos": (1, huge_photos),
    "table": (4, lambda: dismissed),
    "fresh_clients": (4, lambda: lambda: send("/jobs?output=zip", PHOTO, is_new=True)),
    "row": (1, row),
}
"""How many do it at once, and what they do again and again."""


def main() -> None:
    threads, make = KINDS[sys.argv[1]]
    attack = make()
    os.nice(19)

    def repeat() -> None:
        while True:
            attack()

    for _ in range(threads):
        threading.Thread(target=repeat).start()


if __name__ == "__main__":
    main()
