"""Requests of all kinds for a soak: photos that must be answered, and requests of hostile or faulty clients."""

from __future__ import annotations

import io
import json
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from urllib.parse import urlsplit

import httpx
from PIL import Image

from benchmarks.harness.hostile import HOSTILE, hostile, mutate
from benchmarks.harness.image_files import file_of
from benchmarks.harness.images import PHOTOS, photo
from benchmarks.harness.malformed import REFUSED

SIZES = ((64, 48), (375, 500), (1152, 864), (2000, 1500))
LARGE = (4000, 3000)
ENCODINGS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MODES = ("RGB", "RGBA", "CMYK", "L", "LA", "P", "1", "I;16")
QUERIES = (
    "", "format=color", "format=overlay&alpha=0.3", "format=confidence", "format=json", "format=json&mask=png&confidence=true",
    "format=json&mask=polygons", "format=coco", "format=coco&mask=polygons", "format=npz", "blend=hann&overlap=0.5",
    "min_confidence=0.7", "side=native", "min_area=0.1%&fill_holes=200",
)  # fmt: skip
BAD_QUERIES = ("format=gif", "side=1", "overlap=nan", "model=none", "mask=%00", "tolerance=1e999", "alpha=&alpha=")
PAGES = ("/", "/docs", "/openapi.json", "/info", "/classes", "/models", "/metrics", "/health", "/nothing")
BUSY = frozenset({503, 504})
REFUSALS = frozenset({400, 413, 415, 422}) | BUSY
NO_ANSWER, SILENT = 0, -1  # instead of a status: the connection ended without an answer; no answer within `PATIENCE_S`
PATIENCE_S = 90


@dataclass(frozen=True)
class Outcome:
    """The result of a request: its kind, its status, and whether `KINDS` allows this status for the kind."""

    kind: str
    status: int
    is_allowed: bool


class Traffic:
    """One client that sends random requests; the same seed gives the same requests.

    digests: sha256 of the first answer to each (index of a photo, query); all clients share it. changes: number of answers to
    a photo that differ from the first one.
    """

    stall_s = 3.0  # longest stall of an upload or of a head

    def __init__(self, url: str, photos: Sequence[bytes], digests: dict[tuple[int, str], str], seed: int) -> None:
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self.photos = photos
        self.digests = digests
        self.source = random.Random(seed)
        self.client = httpx.Client(base_url=url, timeout=PATIENCE_S)
        self.changes = 0

    def close(self) -> None:
        self.client.close()

    def one(self) -> Outcome:
        """Sends a request of a random kind, by the weights in `KINDS`."""
        kinds = list(KINDS)
        (kind,) = self.source.choices(kinds, [KINDS[name][0] for name in kinds])
        return self.outcome(kind)

    def again(self, most: int | None) -> list[Outcome]:
        """Asks again for all answers in `digests`, or for the first `most` of them."""
        keys = list(self.digests)[:most]
        return [self.outcome("photo", lambda key=key: self.ask(*key)) for key in keys]  # type: ignore[misc]

    def outcome(self, kind: str, send: Callable[[], int] | None = None) -> Outcome:
        """Sends a request of this kind, with `send` if it is given; returns its outcome."""
        _, send_usual, allowed_statuses = KINDS[kind]
        try:
            status = send() if send else send_usual(self)
        except (httpx.TimeoutException, TimeoutError):
            status = SILENT
        except (httpx.TransportError, OSError):
            status = NO_ANSWER
        return Outcome(kind, status, status in allowed_statuses)

    def photo(self) -> int:
        return self.ask(self.source.randrange(len(self.photos)), self.source.choice(QUERIES))

    def ask(self, index: int, query: str) -> int:
        """Posts a photo, as a body or as a form, and compares a 200 with the first one; returns the status."""
        data = self.photos[index]
        if self.source.random() < 0.5:
            answer = self.client.post(f"/segment?{query}", content=data)
        else:
            answer = self.client.post(f"/segment?{query}", files={"file": ("photo", data)})
        if answer.status_code == httpx.codes.OK:
            # a COCO document also has the file's name, which differs between body and form
            content = answer.json()["annotations"] if "coco" in query else answer.content
            digest = sha256(content if isinstance(content, bytes) else json.dumps(content).encode()).hexdigest()
            self.changes += self.digests.setdefault((index, query), digest) != digest
        return answer.status_code

    def batch(self) -> int:
        files = [self.source.choice(self.photos), mutate(self.source, small_files()), b"", self.source.choice(self.photos)]
        query = self.source.choice(("format=json", "format=png"))
        answer = self.client.post(f"/segment/batch?{query}", files=[("file", ("photo", data)) for data in files])
        return answer.status_code

    def damaged_file(self) -> int:
        return self.client.post("/segment", content=mutate(self.source, small_files())).status_code

    def bomb(self) -> int:
        return self.client.post("/segment", content=hostile(self.source.choice(list(HOSTILE)))).status_code

    def bad_query(self) -> int:
        return self.client.post(f"/segment?{self.source.choice(BAD_QUERIES)}", content=self.photos[0]).status_code

    def page(self) -> int:
        return self.client.get(self.source.choice(PAGES)).status_code

    def hostile_head(self) -> int:
        return self.exchange(self.source.choice(list(REFUSED.values())))

    def half_a_head(self) -> int:
        return self.exchange(
            b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Le",
            wait=self.source.uniform(0, self.stall_s),
            reads_answer=False,
        )

    def stalled_upload(self) -> int:
        data = self.source.choice(self.photos)
        head = post(len(data))
        return self.exchange(head + data[: len(data) // 2], wait=self.source.uniform(0, self.stall_s), reads_answer=False)

    def gone_client(self) -> int:
        data = self.source.choice(self.photos)
        return self.exchange(post(len(data)) + data, wait=self.source.uniform(0, 0.2), reads_answer=False)

    def pipeline(self) -> int:
        """Sends several requests at once on one connection; returns the highest status, or `NO_ANSWER` if one is missing."""
        data = self.photos[0]
        last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        requests = [*[b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", post(len(data)) + data] * 3, last]
        with socket.create_connection(self.address, PATIENCE_S) as connection:
            connection.sendall(b"".join(requests))
            answers = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        statuses = [int(piece[:3]) for piece in answers.split(b"HTTP/1.1 ")[1:]]
        return max(statuses, default=NO_ANSWER) if len(statuses) == len(requests) else NO_ANSWER

    def exchange(self, data: bytes, *, wait: float = 0, reads_answer: bool = True) -> int:
        """Sends bytes on a new connection and waits; returns the status, `NO_ANSWER` if there is none or it is not read."""
        with socket.create_connection(self.address, PATIENCE_S) as connection:
            with suppress(ConnectionError):
                connection.sendall(data)
            time.sleep(wait)
            if not reads_answer:
                return NO_ANSWER
            answer = connection.recv(1 << 16)
        return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else NO_ANSWER


def post(length: int) -> bytes:
    """The head of a POST with a body of this length, in bytes."""
    return b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length


# for each kind: its weight among all requests, the method that sends it, and the statuses that it may have
KINDS: dict[str, tuple[float, Callable[[Traffic], int], frozenset[int]]] = {
    "photo": (40, Traffic.photo, frozenset({200}) | BUSY),
    "batch": (4, Traffic.batch, frozenset({200}) | BUSY),
    "damaged file": (15, Traffic.damaged_file, frozenset({200}) | REFUSALS),
    "bomb": (10, Traffic.bomb, frozenset({200}) | REFUSALS),  # some are valid, within a worker's limits
    "bad query": (5, Traffic.bad_query, frozenset({422}) | BUSY),
    "page": (8, Traffic.page, frozenset({200, 404})),
    "hostile head": (6, Traffic.hostile_head, frozenset({NO_ANSWER, 404, 405}) | REFUSALS),
    "half a head": (2, Traffic.half_a_head, frozenset({NO_ANSWER})),
    "stalled upload": (3, Traffic.stalled_upload, frozenset({NO_ANSWER})),
    "gone client": (4, Traffic.gone_client, frozenset({NO_ANSWER})),
    "pipelining": (3, Traffic.pipeline, frozenset({200}) | BUSY),
}


@cache
def small_files() -> tuple[bytes, ...]:
    """A photograph of `SIZES[0]` in every format and pixel mode that Pillow can write together."""
    files = []
    with Image.open(io.BytesIO(photo(PHOTOS[0], SIZES[0]))) as image:
        for mode in MODES:
            for encoding in ENCODINGS:
                with suppress(OSError, ValueError):  # this format has no such mode
                    files.append(file_of(image.convert(mode), encoding))
        files.append(file_of(image, "JPEG", progressive=True))
        files.append(file_of(image, "TIFF", compression="jpeg"))
    return tuple(files)


def encoded_photos(*, quick: bool) -> list[bytes]:
    """Photographs of many sizes in every format that the service reads."""
    photos = []
    for size in SIZES[: 2 if quick else None]:
        for index, encoding in enumerate(ENCODINGS):
            with Image.open(io.BytesIO(photo(PHOTOS[index % len(PHOTOS)], size))) as image:
                photos.append(file_of(image, encoding))
    return photos if quick else [*photos, photo(PHOTOS[0], LARGE)]
