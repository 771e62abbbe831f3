"""Collects the COCO documents of a run's images, and puts them into one file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from cli.answers import STATE, Answers
from cli.input import Input
from cli.lines import LineFile, read_lines
from cli.report import Outcome
from cli.resume import UNKNOWN
from common.whole_file import begins_with, check_output, refuse_link, whole_file, write_file
from imaging.coco import HEAD, JoinedDocument

PARTS, ORDER, DIGEST = "parts", "order.jsonl", "document.sha256"


@dataclass
class CocoFile:
    """One COCO document of all images of a run. For one thread, except `answers`.

    out: path of the document. Until it is whole, the images' own documents and their journal are in a folder in `STATE` beside
    it, so memory does not grow with the run, and a killed run can be resumed.
    """

    out: str
    _keeps_other: bool = False

    @cached_property
    def folder(self) -> Path:
        """The folder of the images' documents."""
        return Path(os.path.abspath(self.out)).parent / STATE / os.path.basename(self.out)

    @cached_property
    def answers(self) -> Answers:
        """Where the documents of the images go."""
        return Answers(str(self.folder / PARTS), ".json")

    def begin(self, *, resume: bool, force: bool) -> None:
        """Removes what an earlier run has left, or with `resume` only its order.

        Raises `OSError` if the document cannot be written, or, without `force`, if no run wrote it or it has changed since.
        """
        for path in (self.folder.parent, self.folder, self.folder / PARTS, self.folder / ORDER, self.folder / DIGEST):
            refuse_link(path)
        digest = (self.folder / DIGEST).read_text() if (self.folder / DIGEST).exists() else ""
        if digest and not force and os.path.exists(self.out) and _sha256(self.out) != digest:
            raise OSError(
                f"{self.out} has changed since it was written, and is kept; give another -o, or --force to replace it"
            )
        check_output(self.out, None if resume or force else begins_with(re.escape(HEAD)))
        self._keeps_other = resume and not force and not digest
        if not resume and self.folder.exists():
            shutil.rmtree(self.folder)
        (self.folder / ORDER).unlink(missing_ok=True)
        if os.path.isfile(self.out) and not self._keeps_other:  # a resumed run replaces what this one would have replaced
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(self.folder / DIGEST, _sha256(self.out), follow=False)

    def passing(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """The outcomes, with the one document as their target; notes the images that have a document. Raises `OSError`."""
        order = LineFile(str(self.folder / ORDER))
        try:
            for outcome in outcomes:
                if outcome.status != "failed":
                    order.append(json.dumps([self.answers.relative(outcome.image), _file_name(outcome.image)]))
                yield replace(outcome, target=self.out if outcome.target else None)
        finally:
            order.close()

    def write(self, *, complete: bool) -> None:
        """Writes the document. complete: whether no image has failed; the images' own documents are then removed.

        Raises `OSError`, also for a document of an image that is not as `format=coco` answers it, and for a resumed run if
        another document is there that no run is known to have written.
        """
        with whole_file(self.out) as partial:
            with partial.open("wb") as file:
                self._write(file)
            digest = _sha256(partial)
            if self._keeps_other and os.path.isfile(self.out) and _sha256(self.out) != digest:
                raise OSError(f"{self.out}: {UNKNOWN}")
            write_file(self.folder / DIGEST, digest, follow=False)
        if complete:
            shutil.rmtree(self.folder)
            with suppress(OSError):  # other runs keep theirs there
                self.folder.parent.rmdir()

    def _write(self, file: BinaryIO) -> None:
        """Writes the images' documents, in the order of the run, as one."""
        document = JoinedDocument()
        order = read_lines([str(self.folder / ORDER)]) if (self.folder / ORDER).exists() else ()
        with TemporaryFile(dir=self.folder) as images:
            for image_id, line in enumerate(order, 1):
                answer, file_name = json.loads(line)
                path = self.folder / PARTS / answer
                try:
                    piece, image = document.add(path.read_bytes(), image_id, {"file_name": file_name})
                except ValueError as error:
                    raise OSError(f"{path}: {error}; start again without --resume") from error
                file.write(piece)
                images.write(image + b"\n")
            images.seek(0)
            file.writelines(document.rest(line.rstrip() for line in images))


def is_coco_file(out: str, format: str, single: bool) -> bool:
    """Whether the answers of several images go to one COCO document: `out` is named as a JSON file and is no folder."""
    return format == "coco" and not single and out.lower().endswith(".json") and not os.path.isdir(out)


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_name(image: Input) -> str:
    """The image's path below the folder, prefix or list that named it. Bytes that are not UTF-8 become U+FFFD."""
    folder = os.fsencode(image.answer_stem.rpartition("/")[0]).decode("utf-8", "replace")
    return f"{folder}/{image.file_name}".lstrip("/")
