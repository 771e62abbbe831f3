"""The outcomes of many photos as one result: lines of JSON, one COCO document, or a zip. Made piece by piece, without a loop.

What they write is of a client's size. An event loop calls them in a thread.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from app.serving.photos import Outcome, json_bytes
from imaging.coco import JoinedDocument

RESULTS = "results.jsonl"


class Writer:
    """Makes a result whose pieces are the file; here, a line of JSON for each image. Each call is linear in what it gets.

    What there is of each image is written by itself: one call for all would hold the interpreter until it is done.
    """

    def add(self, outcome: Outcome) -> bytes:
        """The next piece. Outcomes come in the order of their images."""
        return _entry(outcome) + b"\n"

    def rest(self) -> Iterator[bytes]:
        """The last piece, in parts."""
        yield from ()


class CocoDocument(Writer):
    """One COCO document. An image's id is its place in the request, from 1; `problems` has the failed."""

    def __init__(self) -> None:
        self._document, self._images, self._problems = JoinedDocument(), list[bytes](), list[bytes]()

    def add(self, outcome: Outcome) -> bytes:
        if outcome.is_problem:
            self._problems.append(_entry(outcome))
            return b""
        changes = {"file_name": outcome.file, **outcome.facts}
        piece, image = self._document.add(outcome.body, outcome.index + 1, changes)
        self._images.append(image)
        return piece

    def rest(self) -> Iterator[bytes]:
        return self._document.rest(self._images, self._problems)


class Zip(Writer):
    """A zip file. Its members are stored without compression, because masks are compressed already.

    A cut-out without an object has no member. The last member is `RESULTS`, with a row for each image.
    """

    def __init__(self) -> None:
        self._pipe, self._rows = _Pipe(), list[bytes]()
        self._archive = zipfile.ZipFile(self._pipe, "w")

    def add(self, outcome: Outcome) -> bytes:
        member = None
        if outcome.is_problem or outcome.facts.get("box", True):
            stem = PurePath(outcome.file).stem.replace("\\", "_")  # Windows would take it for folders
            member = f"{outcome.index:03d}-{stem}{outcome.suffix}"
            self._archive.writestr(zipfile.ZipInfo(member), outcome.body)
        row = outcome.heading | {"member": member, **outcome.row}
        self._rows.append(_joined(row, "problem", outcome.body if outcome.is_problem else b"null") + b"\n")
        return self._pipe.take()

    def rest(self) -> Iterator[bytes]:
        with self._archive.open(zipfile.ZipInfo(RESULTS), "w") as member:
            member.writelines(self._rows)
        self._archive.close()
        yield self._pipe.take()


WRITERS: Mapping[str, type[Writer]] = {"zip": Zip, "coco": CocoDocument, "jsonl": Writer}
"""By the name of a job's output."""


def _entry(outcome: Outcome) -> bytes:
    """The JSON object of one image: its heading, with its answer or its problem."""
    return _joined(outcome.heading, "problem" if outcome.is_problem else "answer", outcome.body)


def _joined(facts: Mapping[str, Any], name: str, value: bytes) -> bytes:
    """The JSON object of the facts, with one more member, whose value is JSON already."""
    return b'%s,"%s":%s}' % (json_bytes(facts)[:-1], name.encode(), value)


def result_names(names: Sequence[str], output: str) -> Sequence[str]:
    """What a result calls the files of these names. Only members of a zip have numbers."""
    return names if output == "zip" else distinct_names(names)


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names, each once: of equal names, all but the first get a number, such as `photo (2).png`. Takes linear time."""
    distinct, numbers, all_names = dict[str, None](), Counter[str](), set(names)
    for name in names:
        new, path = name, PurePath(name)
        while new in distinct or (new != name and new in all_names):
            numbers[name] += 1
            new = f"{path.stem} ({numbers[name] + 1}){path.suffix}"
        distinct[new] = None
    return list(distinct)


class _Pipe(io.BytesIO):
    """A file that keeps written data until `take` returns it.

    `zipfile` seeks back in it to write a member's size before the member; without that, some readers cannot read a zip as a
    stream.
    """

    _start = 0  # of the data that it keeps, in all the data ever written

    def tell(self) -> int:
        return self._start + super().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._start + super().seek(offset - self._start, whence)  # raises `ValueError` for data that is gone

    def close(self) -> None:
        """Does nothing: a zip that is given up writes its end when it is collected, which may be after its file is."""

    def take(self) -> bytes:
        """Returns and forgets the data written since the last call."""
        data = self.getvalue()
        self._start += len(data)
        super().seek(0)
        self.truncate()
        return data
