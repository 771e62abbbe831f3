"""The bodies of a batch's answer, written as its images are done: lines of JSON, a COCO document, or a zip."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from fastapi import Request

from app.api.errors import Problem, document
from app.exchange import PIECE_BYTES
from imaging.coco import HEAD, renumber, split_document
from model.inference.processes.protocol import Answer

RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Outcome:
    """The result of one image: the answer's bytes, or a problem.

    answer: without its bytes. facts: what headers say of a single image, as `app.api.segment.segment` gives them; of a failed
    one `retry_after`, in seconds, where there is such a header.
    """

    index: int
    file: str
    suffix: str
    body: bytes
    problem: Problem | None = None
    answer: Answer | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def heading(self) -> dict[str, Any]:
        """The image's place, file name and status, and the facts."""
        status = self.problem.status if self.problem else 200
        return {"index": self.index, "file": self.file, "status": status, **self.facts}


Outcomes = AsyncGenerator[Outcome, None]


async def json_lines(request: Request, outcomes: Outcomes) -> AsyncGenerator[bytes, None]:
    """Yields a line of JSON for each image."""
    async with aclosing(outcomes):
        async for outcome in outcomes:
            for piece in _pieces(_entry(request, outcome) + b"\n"):
                yield piece


def _entry(request: Request, outcome: Outcome) -> bytes:
    """The JSON object of one image: its heading, with its answer or its problem."""
    problem = outcome.problem
    head = _json(outcome.heading)[:-1]
    name, body = (b"problem", _json(_problem(request, problem))) if problem else (b"answer", outcome.body)
    return head + b',"' + name + b'":' + body + b"}"


async def coco_document(request: Request, outcomes: Outcomes) -> AsyncGenerator[bytes, None]:
    """Yields one COCO document as it grows. An image's id is its place in the request, from 1; `problems` has the failed."""
    entries, problems, categories, annotations = [], [], b"", 0
    yield HEAD + b',"annotations":['
    async with aclosing(outcomes):
        async for outcome in outcomes:
            if outcome.problem:
                problems.append(_entry(request, outcome))
                continue
            changes = {"file_name": outcome.file, **outcome.facts}
            parts = renumber(split_document(outcome.body), outcome.index + 1, annotations + 1, changes)
            entries.append(parts.image)
            categories = parts.categories
            if parts.number:
                for piece in _pieces(b"," * bool(annotations) + parts.annotations):
                    yield piece
            annotations += parts.number
    lists = {b"images": b",".join(entries), b"categories": categories, b"problems": b",".join(problems)}
    yield b"]" + b"".join(b',"%s":[%s]' % item for item in lists.items()) + b"}"


async def zip_file(request: Request, outcomes: Outcomes) -> AsyncGenerator[bytes, None]:
    """Yields a zip file as it grows. Its members are stored without compression, because masks are compressed already.

    A cut-out without an object has no member. The last member is `RESULTS`, with a row for each image.
    """
    pipe, rows = _Pipe(), list[bytes]()
    async with aclosing(outcomes):
        with zipfile.ZipFile(pipe, "w") as archive:
            async for outcome in outcomes:
                member = None
                if outcome.problem or outcome.facts.get("box", True):
                    body = _json(_problem(request, outcome.problem)) if outcome.problem else outcome.body
                    member = f"{outcome.index:03d}-{PurePath(outcome.file).stem}{outcome.suffix}"
                    archive.writestr(zipfile.ZipInfo(member), body)
                rows.append(_json(_row(request, outcome, member)) + b"\n")
                for piece in _pieces(pipe.take()):
                    yield piece
            archive.writestr(zipfile.ZipInfo(RESULTS), b"".join(rows))
        yield pipe.take()


def _row(request: Request, outcome: Outcome, member: str | None) -> dict[str, Any]:
    """What is known of an image beside its picture. Of a failed one, size and confidence are None and classes empty."""
    answer, problem = outcome.answer, outcome.problem
    height, width = answer.size if answer else (None, None)
    shares, confidence = (answer.shares, answer.mean_confidence) if answer else ({}, None)
    facts = {"member": member, "width": width, "height": height, "classes": shares, "mean_confidence": confidence}
    return outcome.heading | facts | {"problem": _problem(request, problem) if problem else None}


def _pieces(data: bytes) -> Iterator[bytes]:
    """Splits the data into pieces of `PIECE_BYTES`; the last may be shorter."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def _problem(request: Request, problem: Problem) -> dict[str, Any]:
    return document(type(problem), problem.detail, request.state.request_id)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Pipe(io.RawIOBase):
    """A file that keeps written data until `take` returns it.

    `zipfile` seeks back in it to write a member's size before the member; without that, some readers cannot read a zip as a
    stream.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = self._position = 0  # of the buffer, and of the next write, in all the data ever written

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._start:
            raise io.UnsupportedOperation(f"data before {self._start} is gone, cannot seek to {offset} (whence {whence})")
        self._position = offset
        return offset

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        offset = self._position - self._start
        self._buffer[offset : offset + view.nbytes] = view
        self._position += view.nbytes
        return view.nbytes

    def take(self) -> bytes:
        """Returns and forgets the data written since the last call."""
        data = bytes(self._buffer)
        self._start += len(data)
        self._buffer.clear()
        return data
