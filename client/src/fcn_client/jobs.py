"""Jobs: work that outlives a request. What both clients share."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import httpx

from fcn_client.answers import document
from fcn_client.calls import Call, FilePart, texts
from fcn_client.errors import SegmentError
from fcn_client.images import refuse_one

Output = Literal["tif", "cog", "gpkg", "geojson", "zip", "coco", "jsonl"]
"""What becomes of a scene (the first four), or of photos."""
PAUSE_S = 1.0  # between two looks at a job
OPEN = ("accepted", "running")


class JobFailed(SegmentError):
    """The job has failed, or was dismissed. The detail says why."""


@dataclass(frozen=True)
class Job:
    """A job: its id, its status (`accepted`, `running`, `successful`, `failed` or `dismissed`), and 0 to 100 of progress."""

    id: str
    status: str
    progress: int
    message: str

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status in OPEN

    def checked(self) -> Job:
        """The job itself. Raises `JobFailed` unless it is open or successful."""
        if not self.is_open and self.status != "successful":
            raise JobFailed(f"job {self.id}: {self.message}")
        return self


def parse(response: httpx.Response) -> Job:
    """The job of an answer. Raises `UnexpectedAnswer`."""
    values = document(response)
    id, status, message = (str(values.get(name, "")) for name in ("jobID", "status", "message"))
    return Job(id, status, int(values.get("progress", 0)), message)


def call(job: Job | str, *path: str | None, method: str = "GET") -> Call:
    """A request about a job, or its id. path: below its own, whose parts may be None."""
    return Call(method, "/".join(["jobs", job.id if isinstance(job, Job) else job, *filter(None, path)]), {})


@contextmanager
def submission(
    files: Sequence[str | Path] | str | Path, output: Output | Sequence[Output], parameters: Mapping[str, Any]
) -> Iterator[Call]:
    """The request that sends files, which stay open in the block. Raises `OSError`, or `TypeError` for what is no path."""
    paths = [files] if isinstance(files, str | Path) else files
    refuse_one(paths)
    query = texts({"output": output, **parameters})
    with ExitStack() as stack:
        parts: list[FilePart] = [("file", (Path(path).name, stack.enter_context(open(path, "rb")))) for path in paths]
        if "extent" in query:  # too long for an address
            parts.append(("extent", ("extent.geojson", query.pop("extent").encode())))
        yield Call("POST", "jobs", query, parts)


def check_file(response: httpx.Response) -> None:
    """Raises `SegmentError` for links to several results in place of a file."""
    if response.headers.get("Content-Type") == "application/json" and "Content-Disposition" not in response.headers:
        raise SegmentError('the job has several results; name one, such as output="tif"')


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file that replaces the one at `path` once the block has ended without an error. Raises `OSError`."""
    partial = Path(f"{path}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
