"""Images to segment, and folders of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cli.answers import STATE, open_answers
from cli.inputs import list_inputs
from cli.report import Outcome
from cli.run import Backend, BulkJob, run_all
from imaging.rendering import Rendering
from tests.support.images import encode, make_photo

Segment = Callable[..., int]
PHOTO = encode(make_photo(70, 101))
OTHER = encode(make_photo(40, 33, seed=1), "JPEG")


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def files_in(folder: Path) -> list[str]:
    """The files below a folder, without those of the journal of answers."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if STATE not in path.parts)


def job_of(backend: Backend, folder: Path, out: Path) -> BulkJob:
    """What the command does with an image of this folder."""
    listing = list_inputs([str(folder)], str(out))
    return BulkJob(backend, open_answers(str(out), Rendering(), single=False), listing)


def outcomes_of(backend: Backend, folder: Path, out: Path) -> list[Outcome]:
    """The outcomes of the images of a folder."""
    job = job_of(backend, folder, out)
    return list(run_all(job, job.listing, backend.workers))
