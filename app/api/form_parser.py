"""Parses multipart forms (RFC 7578) as their bytes arrive. The caller takes the bytes of images; fields stay in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.body import DEFAULT_NAME
from app.api.errors import BadParameter, BadRequest, Problem, TooLarge
from common.printable import VALUE_LENGTH, excerpt, printable

FIELDS = ("file", "image")
LONGEST_NAME = 255  # characters of a file's name, as on file systems; only the end of a longer name is used
MAX_FIELDS, FIELD_BYTES = 40, 4096  # limits on fields that are no images: parameters, and what is not read
MOST_OPTIONS = 64  # of a part's header; names of files may have semicolons
TEXT_BYTES = 1024  # an image without a file name is refused as text if it has at most so many, and they are UTF-8


class FormParser:
    """Parses a form from `write` to `end`.

    images: the names of their files so far, without folders. fields: their names and texts. other_files: names of fields whose
    files are passed over.

    open_image: returns what takes the bytes of the image of this number, from 0. It raises if the form has too many.
    image_fields: names of the fields for images. A part with such a name is an image, even without a file name; without a file
    name and bytes it is none, unless nothing else came: browsers send that for a field in which no file was chosen.
    names: of the parameters. limits: the most bytes of each parameter that may exceed `FIELD_BYTES`.
    Raises `BadRequest` for a broken form, `TooLarge`, `BadParameter` for a parameter that comes twice.
    """

    def __init__(
        self,
        boundary: bytes,
        open_image: Callable[[int], Callable[[bytes], object]],
        image_fields: Sequence[str],
        names: Collection[str],
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.images, self.fields, self.other_files = list[str](), list[tuple[str, str]](), list[str]()
        self._open_image, self._image_fields, self._names, self._limits = open_image, image_fields, names, limits or {}
        self._header, self._value, self._options = b"", b"", dict[bytes, bytes]()
        self._name, self._text = "", bytearray()  # of a field, or the first bytes of an image without a file name
        self._file_name: str | None = None  # of the part
        self._image_text = ""  # the text that came instead of an image
        self._is_image = self._is_field = self._has_empty_image = self._has_ended = False
        self._write_image: Callable[[bytes], object] | None = None
        try:
            self._parser = MultipartParser(boundary, {
                "on_header_field": self._add_header, "on_header_value": self._add_value, "on_header_end": self._end_header,
                "on_headers_finished": self._begin_part, "on_part_data": self._add_data, "on_part_end": self._end_part,
                "on_end": self._end,
            })  # fmt: skip
        except FormParserError as error:
            raise unreadable(str(error)) from error

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise unreadable(str(error)) from error

    def end(self) -> None:
        """Raises `BadRequest` if the closing boundary has not come, if no image has, or if a text stands in its place."""
        if not self._has_ended:
            raise unreadable("it is cut off: its closing boundary is missing")
        if self._image_text:
            message = f"the form's field for the image came as the text {excerpt(self._image_text)}, and not as a file"
            raise BadRequest(f"{message}; send the file itself, with curl: -F {self._image_fields[0]}=@photo.jpg")
        if not self.images and self._has_empty_image:
            self._begin_image()
        if not self.images:
            first, second = self._image_fields
            names = printable(", ".join(sorted({*dict(self.fields), *self.other_files})) or "none", VALUE_LENGTH)
            raise BadRequest(f"no file in a field `{first}` (or `{second}`) of the form; fields that came: {names}")

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            if self._value.count(b";") > MOST_OPTIONS:  # reading them takes the square of their number
                raise unreadable(f"a header of a part has more than {MOST_OPTIONS} semicolons")
            self._options = parse_options_header(self._value)[1]
        self._header, self._value = b"", b""

    def _begin_part(self) -> None:
        options, self._options = self._options, {}
        if b"name" not in options:
            raise unreadable("a part has no name")
        self._name = _decoded(options[b"name"])
        self._file_name = _decoded(options[b"filename"]) if b"filename" in options else None
        self._text, self._write_image = bytearray(), None
        self._is_image = self._name in self._image_fields
        self._is_field = not self._is_image and (self._file_name is None or self._name in self._names)
        if len(self.fields) + len(self.other_files) == MAX_FIELDS and not self._is_image:
            raise TooLarge(f"the form has more than {MAX_FIELDS} fields besides images, which is the limit; leave some out")
        if self._name in self._names and self._name in dict(self.fields):
            raise BadParameter(f"form field {self._name}: it comes twice; give it once")

    def _begin_image(self) -> Callable[[bytes], object]:
        write = self._open_image(len(self.images))
        self.images.append(file_name(self._file_name or ""))
        return write

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_image:
            self._write_image = self._write_image or self._begin_image()
            self._write_image(data[start:end])
            if not self._file_name:
                self._text += data[start : min(end, start + TEXT_BYTES + 1 - len(self._text))]
        elif self._is_field:
            most = self._limits.get(self._name, FIELD_BYTES)
            if len(self._text) + end - start > most:
                raise TooLarge(f"the form's field {printable(self._name, VALUE_LENGTH)} has more than {most} bytes")
            self._text += data[start:end]

    def _end_part(self) -> None:
        if self._is_field:
            self.fields.append((self._name, _decoded(self._text)))
        elif not self._is_image:
            self.other_files.append(self._name)
        elif not self._write_image and self._file_name:
            self._begin_image()
        elif not self._write_image:
            self._has_empty_image = True
        elif len(self._text) <= TEXT_BYTES and not {"\0", "\ufffd"} & {*(text := self._text.decode(errors="replace"))}:
            self._image_text = self._image_text or text

    def _end(self) -> None:
        self._has_ended = True


def file_name(text: str) -> str:
    """What stands behind the last `/` of a file's name, at most `LONGEST_NAME` characters.

    The parser leaves out the folders of a Windows path that begins with a drive, and this function those of one that begins
    with a backslash; any other backslash is a part of the name. Browsers write a quotation mark as `%22` (HTML, 4.10.22.8).
    """
    if text.startswith("\\"):
        text = text.rsplit("\\", 1)[-1]
    return text.rsplit("/", 1)[-1].replace("%22", '"')[-LONGEST_NAME:] or DEFAULT_NAME


def _decoded(data: bytes | bytearray) -> str:
    """Forms are UTF-8 (RFC 7578, section 5.1.2). Old clients send Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def boundary_of(request: Request) -> bytes:
    """The boundary of the request's form. Raises `BadRequest` if it names none."""
    if boundary := parse_options_header(request.headers.get("content-type"))[1].get(b"boundary"):
        return boundary
    raise unreadable("it names no boundary")


def delimiter_of(boundary: bytes) -> bytes:
    """What stands before each part of a form but the first (RFC 2046, section 5.1.1)."""
    return b"\r\n--" + boundary


async def from_first_boundary(
    chunks: AsyncGenerator[bytes, None], boundary: bytes, most_parts: int, error: Callable[[], Problem]
) -> AsyncGenerator[bytes, None]:
    """The chunks of a form without the preamble before its first boundary (RFC 2046, section 5.1.1).

    Raises `error` for more parts, and `BadRequest` for blanks after a boundary. Both come before the parser sees them: it is
    slow for each part and each blank.
    """
    first, delimiter = re.compile(rb"\n(--%b(?:\r\n|--|[ \t]))" % re.escape(boundary)), delimiter_of(boundary)
    tail, count, has_begun = b"\n", -1, False  # the body's start is the start of a line; the form's end is a delimiter, too
    async for chunk in chunks:
        data = tail + chunk
        if not has_begun and (match := first.search(data)):
            has_begun, chunk = True, data[match.start(1) :]
            data = b"\r\n" + chunk
        tail = data[-len(delimiter) :]  # these bytes may begin a delimiter, or be one that blanks follow
        if has_begun:
            if delimiter in data:
                count += data.count(delimiter, 1)  # one at its start was in the tail
                if delimiter + b" " in data or delimiter + b"\t" in data:
                    raise unreadable("it has blanks after a boundary")
            if count > most_parts:
                raise error()
            yield chunk


def unreadable(reason: str) -> BadRequest:
    return BadRequest(f"the form cannot be read: {reason}; send multipart/form-data with an image as `file`")
