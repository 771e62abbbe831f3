"""An image as the body of a request, or in its JSON, which is read piece by piece.

JSON is `{"inputs": BASE64, "parameters": {...}}`, as the clients of Hugging Face's inference API send it. Its long texts stay
in the body until they are decoded.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from app.api.body import IMAGE_COPIES, PIECE, RequestBody, media_type
from app.api.errors import BadParameter, BadRequest, UnsupportedType
from app.api.query import Query, json_values
from app.serving.photos import Upload
from app.telemetry import VALUE_LENGTH, excerpt
from model.inference.processes.blob import Blob
from model.printable import printable

JSON_COPIES = 3  # of JSON in memory: the body, the image, and the worker's copy of that
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONG = 4096  # bytes from which a text is left out of the outline
MOST_OUTLINE = 1 << 20  # bytes of the JSON without its long texts
MOST_VALUES = 1000  # in it; each may take hundreds of bytes of memory
ESCAPE = 6  # bytes of the longest escape in a text
ALPHABET = bytes.maketrans(b"-_", b"+/")
DATA_URL = re.compile(rb"data:image/[\w.+-]{1,64}(;[\w.=+-]{1,64}){0,4};base64,", re.IGNORECASE)
"""What data URLs (RFC 2397) of images have before their base64."""
LONGEST_URL = 512
BEFORE_JSON = b"\0\xff\xfe \t\r\n" + BYTE_ORDER_MARK  # bytes that may stand before its first sign, in any encoding
MOST_BEFORE_JSON = 1024
JSON = re.compile(rb'[{"]|\[(?!object )')  # `[object Blob]` is what JavaScript writes for one
URL = re.compile(r"\s*(https?|ftp|file|s3|gs)://", re.IGNORECASE)
EXAMPLE = {"inputs": "iVBORw0KGgo=", "parameters": {"format": "json"}}
URLS = "the service does not fetch URLs, got {}; send the image itself: curl URL | curl --data-binary @- THIS_ADDRESS"


async def read_image(body: RequestBody, query: Query) -> tuple[Upload, Query]:
    """Reads an image, not checked, which is the body, or is in its JSON; and adds the JSON's parameters to the query.

    Raises as `RequestBody`; `BadRequest` for other JSON, `UnsupportedType` for a URL, `BadParameter`, `Unavailable`.
    """
    is_json = media_type(body.request) == "application/json"
    content = await body.read(JSON_COPIES if is_json else IMAGE_COPIES)
    # no image format begins as JSON does
    if is_json and JSON.match(content.read(MOST_BEFORE_JSON).lstrip(BEFORE_JSON)):
        image, query = await _read_inputs(await read_json(body, content, EXAMPLE), query)
        content.close()
        content = image
    body.set_memory(IMAGE_COPIES * content.length)
    return Upload(content), query


async def _read_inputs(document: JsonBody, query: Query) -> tuple[Blob, Query]:
    """The image in the JSON, and the query with the JSON's parameters."""
    values = document.values
    inputs, parameters = values.pop("inputs", None), values.pop("parameters", None)
    for value in (inputs, *values.values()):
        if isinstance(value, str) and URL.match(value[:VALUE_LENGTH]):
            raise UnsupportedType(URLS.format(excerpt(value[: 2 * VALUE_LENGTH])))
    if not isinstance(inputs, str):
        raise BadRequest(f"the JSON has no text `inputs`; send {json.dumps(EXAMPLE)}")
    if values:
        name = printable(next(iter(values)), VALUE_LENGTH)
        raise BadParameter(f"the JSON has an unknown name {name}; put it into parameters")
    query = json_values(query, parameters)
    try:
        return await document.image(inputs), query
    except ValueError as error:
        advice = f"send {json.dumps(EXAMPLE)}, with the image in base64 without line breaks, as base64 -w0 photo.jpg prints it"
        raise BadRequest(f"`inputs` is not base64: {error}; {advice}") from error


@dataclass(frozen=True)
class JsonBody:
    """The JSON object in a body. content: the body's bytes.

    values: its members; a text of more than `LONG` bytes is a name there. spans: where those texts stand, by their names.
    """

    body: RequestBody
    content: Blob
    values: dict[str, Any]
    spans: Mapping[str, tuple[int, int]]

    async def image(self, text: str) -> Blob:
        """The bytes of base64 text of either alphabet, with or without its padding (RFC 4648, sections 4 and 5), or a data URL.

        text: as it stands in `values`. Raises `ValueError` for other characters, also line breaks, and as `RequestBody.keep`.
        """
        short = Blob(text.encode())
        content, (start, end) = (self.content, self.spans[text]) if text in self.spans else (short, (0, len(short.data)))
        if match := DATA_URL.match(content.read(LONGEST_URL, start)):
            start += match.end()
        return await self.body.keep(self._decoded(content, start, end))

    async def _decoded(self, content: Blob, start: int, end: int) -> AsyncGenerator[bytes, None]:
        rest = b""  # of four characters
        while start < end:
            async with self.body.turn():
                piece = content.read(min(PIECE, end - start), start)
                if start + len(piece) < end and (cut := piece.find(b"\\", 1 - ESCAPE)) > 0:  # it may go on
                    piece = piece[:cut]
                start += len(piece)
                text = from_json(b'"%b"' % piece).encode() if b"\\" in piece else piece
                rest += text.translate(ALPHABET)
                count = len(rest) // 4 * 4 if start < end else len(rest)
                if start < end and b"=" in rest[:count]:
                    raise ValueError("padding stands before its end")
                data = binascii.a2b_base64(rest[:count] + b"=" * (-count % 4), strict_mode=True)
                rest = rest[count:]
            yield data


async def read_json(body: RequestBody, content: Blob, example: Mapping[str, Any]) -> JsonBody:
    """The JSON object in the body's bytes. `example` is shown in errors. Raises `BadRequest`."""
    outline, spans = await _outline(body, content)
    async with body.turn():
        try:
            values = from_json(outline.removeprefix(BYTE_ORDER_MARK), allow_inf_nan=False)
        except ValueError as error:
            raise BadRequest(f"the body is not JSON in UTF-8: {error}; send {json.dumps(example)}") from error
    if not isinstance(values, dict):
        raise BadRequest(f"the JSON is no object; send {json.dumps(example)}")
    return JsonBody(body, content, values, spans)


async def _outline(body: RequestBody, content: Blob) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The JSON with a name for each long text, and where those texts stand. Raises `BadRequest` for too much besides them."""
    outline, spans = bytearray(), dict[str, tuple[int, int]]()
    start: int | None = None  # of the text that has begun
    marks = slashes = 0  # quotation marks, and the backslashes before the piece
    for offset in range(0, content.length, PIECE):
        async with body.turn():
            piece, position = content.read(PIECE, offset), 0
            marks += piece.count(b'"')
            while position < len(piece) and marks <= 4 * MOST_VALUES:
                mark = piece.find(b'"', position)
                part = piece[position:mark] if mark >= 0 else piece[position:]
                slashes = len(part) - len(bare := part.rstrip(b"\\")) + (0 if bare else slashes)
                position += len(part) + 1
                if start is None:
                    outline += part + b'"' * (mark >= 0)
                    start = offset + position if mark >= 0 else None
                elif mark >= 0 and not slashes % 2:
                    if (count := offset + mark - start) <= LONG:
                        outline += content.read(count + 1, start)
                    else:
                        name = f"text {len(spans)} of more than {LONG} bytes"
                        outline += f'{name}"'.encode()
                        spans[name] = start, start + count
                    start = None
                slashes = 0 if mark >= 0 else slashes
            if marks > 4 * MOST_VALUES or sum(map(outline.count, (b",", b"[", b"{"))) > MOST_VALUES:
                raise BadRequest(f"the JSON has more than {MOST_VALUES} values; send only images and parameters")
            if len(outline) > MOST_OUTLINE:
                raise BadRequest(f"the JSON has more than {MOST_OUTLINE} bytes besides images; send only images and parameters")
    return bytes(outline), spans
