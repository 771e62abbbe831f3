"""Parses multipart forms, and lists the images in them."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import count
from pathlib import PurePath

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.errors import BadRequest, Unavailable
from app.telemetry import excerpt

FIELDS = ("file", "image")
DEFAULT_NAME = "image"
LONGEST_NAME = 255  # characters of a file's name, as on file systems; only the end of a longer name is used
MAX_FILES = 100
MAX_FIELDS, FIELD_BYTES = 40, 4096  # limits on form fields that are not files: parameters, and what is not read
TEXT_BYTES = 1024  # bytes of an image field that are checked for being text
SPOOL_BYTES = 1 << 16  # a batch's files of up to this many bytes are kept in memory, larger ones on disk
NO_ROOM = {"Retry-After": "10", "Connection": "close"}
log = logging.getLogger("segment")


async def parse_form(
    request: Request, body: AsyncGenerator[bytes, None], spool_bytes: int, on_file: Callable[[], None]
) -> FormData:
    """The form in a request's body; the caller closes it. Files of more than `spool_bytes` bytes are on disk until then.

    body: yields the request's bytes. on_file: is called before a file goes to disk. Raises `BadRequest`, `Unavailable` if there
    is no room on disk, or what `body` or `on_file` raises.
    """
    # only the boundary is passed on: names are UTF-8 (RFC 7578, section 5.1.2), and a client's charset could select any codec
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    boundary = parameters.get(b"boundary", b"").decode("latin-1")
    headers = Headers({"content-type": f'{kind.decode("latin-1")}; boundary="{boundary}"'} if boundary else {})

    async def checked_body() -> AsyncGenerator[bytes, None]:
        async for chunk in _from_first_boundary(body, parameters.get(b"boundary", b"")):
            yield chunk
        if not parser.has_ended:
            raise MultiPartException("it is cut off: its closing boundary is missing")

    parser = _WholeForm(headers, checked_body(), max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES)
    parser.spool_max_size, parser.on_file = spool_bytes, on_file
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        reason = getattr(error, "message", "") or "it names no boundary"
        raise BadRequest(f"the form cannot be read: {reason}; send multipart/form-data with an image as `file`") from error
    except OSError as error:
        log.error("a form's files could not be kept on disk: %s", error)
        raise Unavailable("there is no room on disk for the form's files; try again later", NO_ROOM, "disk") from error


def images(form: FormData) -> list[UploadFile]:
    """The files in the fields for images, in the form's order. Raises `BadRequest` if there is none.

    Browsers send a file without a name and without bytes for a field in which no file was chosen. Such files are left out. If
    all files are empty, they are all returned.
    """
    parts = [part for name, part in form.multi_items() if name in FIELDS and isinstance(part, UploadFile)]
    if not parts:
        names = ", ".join(sorted(form)) or "none"
        raise BadRequest(f"no file in a field `file` (or `image`) of the form; fields that came: {names}")
    return [part for part in parts if part.filename or part.size] or parts


async def check_files(parts: Sequence[UploadFile]) -> None:
    """Raises `BadRequest` if all of a form's fields for images are text."""
    for part in parts:
        if not (text := await _text(part)):
            return
    raise _not_a_file(text)


async def check_file(part: UploadFile) -> None:
    """Raises `BadRequest` if a form's field for an image is text."""
    if text := await _text(part):
        raise _not_a_file(text)


def base_name(part: UploadFile) -> str:
    """The file's name without folders (with `/` or `\\`), cut to its last 255 characters; `image` if it has none."""
    return (part.filename or "").replace("\\", "/").rsplit("/", 1)[-1][-LONGEST_NAME:] or DEFAULT_NAME


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names, each once: of equal names, all but the first get a number, such as `photo (2).png`."""
    all_names, distinct = set(names), list[str]()
    for name in names:
        path, earlier = PurePath(name), set(distinct)
        candidates = (f"{path.stem} ({number}){path.suffix}" for number in count(2))
        distinct.append(next(text for text in candidates if text not in all_names | earlier) if name in earlier else name)
    return distinct


def _not_a_file(text: str) -> BadRequest:
    advice = "send the file itself, with curl: -F file=@photo.jpg"
    return BadRequest(f"the form's field for the image came as the text {excerpt(text)}, and not as a file; {advice}")


async def _text(part: UploadFile) -> str:
    """The first `TEXT_BYTES` bytes of a field without a file name as text; empty if they are not text, or there is a name.

    An image field is text if, for example, the `@` before the file's name is missing in a curl command.
    """
    if part.filename:
        return ""
    start = await part.read(TEXT_BYTES)
    await part.seek(0)
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < TEXT_BYTES - 3:  # else it may be a character that is cut off at the end
            return ""
        text = start[: error.start].decode()
    return "" if "\0" in text else text


class _WholeForm(MultiPartParser):
    """A parser that records in `has_ended` whether the form's closing boundary came; without it, the last part may be missing.

    It treats a field for images as a file even if it has no file name, so that it is counted and spooled as a file.
    It calls `on_file` before a part becomes larger than `spool_max_size`.
    """

    on_file: Callable[[], None]
    has_ended = False
    _part_bytes = 0
    _header: tuple[bytes, bytes] = b"", b""

    def on_part_begin(self) -> None:
        self._part_bytes = 0
        super().on_part_begin()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        before, self._part_bytes = self._part_bytes, self._part_bytes + end - start
        if before <= self.spool_max_size < self._part_bytes:
            self.on_file()
        super().on_part_data(data, start, end)

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = self._header[0] + data[start:end], b""

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = self._header[0], self._header[1] + data[start:end]

    def on_header_end(self) -> None:
        (name, value), self._header = self._header, (b"", b"")
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            field = options.get(b"name", b"").decode("latin-1")
            if field in FIELDS and b"filename" not in options:
                value = f'form-data; name="{field}"; filename=""'.encode()
        super().on_header_field(name, 0, len(name))
        super().on_header_value(value, 0, len(value))
        super().on_header_end()

    def on_end(self) -> None:
        self.has_ended = True


async def _from_first_boundary(body: AsyncGenerator[bytes, None], boundary: bytes) -> AsyncGenerator[bytes, None]:
    """Yields the body without the preamble before its first boundary (RFC 2046, section 5.1.1).

    Keeps only the last bytes of the preamble in memory.
    """
    delimiter = re.compile(rb"\n(--%b(?:\r\n|--))" % re.escape(boundary))
    tail, has_begun = b"\n", not boundary  # a line feed, because the body's start is the start of a line
    async for chunk in body:
        if has_begun:
            yield chunk
            continue
        tail += chunk
        if match := delimiter.search(tail):
            has_begun = True
            yield tail[match.start(1) :]
        else:
            tail = tail[-len(boundary) - 4 :]  # these bytes may begin a delimiter
