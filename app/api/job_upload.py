"""The body of a job, which streams to the disk: a file, or a form with files."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import BinaryIO, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from app.api.body import CLOSE, DEFAULT_NAME, RequestBody, media_type
from app.api.errors import BadRequest, EmptyBody, TooLarge
from app.api.forms import FIELDS, LONGEST_NAME, MEDIA_TYPE

MOST_FILES = 10_000  # of a form
WRITE_BYTES = 1 << 20  # that are written at once
MEMORY_BYTES = 4 << 20  # of an upload, whatever its size
MOST_S = 86_400.0  # that an upload may take; its rate has a limit besides
FOLDER = re.compile(r".*[/\\]")


class JobUpload(NamedTuple):
    """What came: the names of the files, which lie in the folder by their numbers, and the fields of the form."""

    files: list[str]
    fields: list[tuple[str, str]]


async def receive_upload(body: RequestBody, folder: Path, check_room: Callable[[int], None]) -> JobUpload:
    """Writes the files of the body to a new folder, as `000000`, `000001` and so on.

    check_room: raises if the disk has no room for so many bytes. Raises as `RequestBody`; `BadRequest` for a broken form,
    `EmptyBody`, `TooLarge` for more than `MOST_FILES` files, `OSError`, and what `check_room` raises.
    """
    folder.mkdir()
    upload = JobUpload([], [])
    is_form = media_type(body.request) == MEDIA_TYPE
    writer = _Form(body.request.headers["content-type"], folder, upload) if is_form else _Raw(folder, upload)
    pieces, count = bytearray(), 0
    try:
        async for chunk in body.chunks(lambda _: MEMORY_BYTES):
            pieces += chunk
            if len(pieces) >= WRITE_BYTES:
                check_room(count := count + len(pieces))
                await asyncio.to_thread(writer.write, bytes(pieces))
                pieces.clear()
        await asyncio.to_thread(writer.write, bytes(pieces))
        writer.end()
    except FormParserError as error:
        raise BadRequest(f"the form cannot be read: {error}; send multipart/form-data with a file as `file`", CLOSE) from error
    finally:
        writer.close()
    if not upload.files or not any((folder / f"{index:06}").stat().st_size for index in range(len(upload.files))):
        raise EmptyBody("no file came, or only empty ones; send a file as the body, or as `file` of a form")
    return upload


class _Raw:
    """Writes a body that is a file."""

    def __init__(self, folder: Path, upload: JobUpload) -> None:
        self._file: BinaryIO = (folder / "000000").open("wb")
        upload.files.append(DEFAULT_NAME)

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def end(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _Form:
    """Writes the files of a form. Each has a number for a name; what the client calls them is a text."""

    def __init__(self, content_type: str, folder: Path, upload: JobUpload) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise BadRequest("the form cannot be read: it names no boundary", CLOSE)
        self._folder, self._upload, self._has_ended = folder, upload, False
        config = {"UPLOAD_DIR": str(folder), "UPLOAD_DELETE_TMP": False, "MAX_MEMORY_FILE_SIZE": 0, "MAX_BODY_SIZE": inf}
        self._parser = FormParser(MEDIA_TYPE, self._add_field, self._add_file, self._end, boundary, config=config)

    def write(self, data: bytes) -> None:
        self._parser.write(data)

    def end(self) -> None:
        self._parser.finalize()
        if not self._has_ended:
            raise FormParserError("it is cut off: its closing boundary is missing")

    def close(self) -> None:
        self._parser.close()

    def _end(self) -> None:
        self._has_ended = True

    def _add_file(self, file: File) -> None:
        name = FOLDER.sub("", (file.file_name or b"").decode(errors="replace"))[-LONGEST_NAME:]
        path = file.actual_file_name
        file.close()
        if (file.field_name or b"").decode(errors="replace") not in FIELDS or not path or not (name or file.size):
            if path:
                os.unlink(path)
            return
        if len(self._upload.files) >= MOST_FILES:
            raise TooLarge(f"the form has more than {MOST_FILES} files, which is the limit; send them in several jobs", CLOSE)
        os.rename(path, os.fsencode(self._folder / f"{len(self._upload.files):06}"))
        self._upload.files.append(name or DEFAULT_NAME)

    def _add_field(self, field: Field) -> None:
        name, value = ((each or b"").decode(errors="replace") for each in (field.field_name, field.value))
        if name in FIELDS:
            raise BadRequest("the form's field for a file came as a text; send the file itself: -F file=@scene.tif", CLOSE)
        self._upload.fields.append((name, value))
