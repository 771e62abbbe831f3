"""An image in JSON: `{"inputs": BASE64, "parameters": {...}}`, as the clients of Hugging Face's inference API send it."""

from __future__ import annotations

import asyncio
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from app.api.errors import BadParameter, BadRequest, UnsupportedType
from app.telemetry import VALUE_LENGTH, excerpt
from model.printable import printable

COPIES = 4  # of the body in memory: the body, its text, the image, and a short-lived one
WIDE_COPIES = COPIES + 3  # Python's text takes four bytes a character as soon as one of them is wide
WIDE = re.compile(rb"\\u(?!00)")  # escapes of such characters; others may be part of base64, as .NET writes it
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|[\[{\"]\0|\0[\[{\"]|\0\0\0[\[{\"]")  # or UTF-32
MOST_VALUES = 10_000  # in the JSON; each may take hundreds of bytes of memory
PIECE = 1 << 20  # characters that are decoded at once; a multiple of 4
JSON_START = re.compile(rb'(\xef\xbb\xbf)?\s{0,1024}+[\[{"]')  # white space is bounded, since the whole body may be of it
URL = re.compile(r"\s*(https?|ftp|file|s3|gs)://", re.IGNORECASE)
DATA_URL = re.compile(r"data:image/[\w.+-]{1,64}(;[\w.=+-]{1,64}){0,4};base64,", re.ASCII | re.IGNORECASE)
"""What data URLs (RFC 2397) of images have before their base64."""
EXAMPLE = {"inputs": "iVBORw0KGgo=", "parameters": {"format": "json"}}
URLS = "the service does not fetch URLs, got {}; send the image itself: curl URL | curl --data-binary @- THIS_ADDRESS"


def looks_like_json(body: bytes) -> bool:
    """Whether the body begins as JSON, in any encoding. No image format does."""
    return JSON_START.match(body) is not None or UTF_16.match(body) is not None


def copies(body: bytes) -> int:
    """How many times a JSON body counts for the memory: by the width of Python's text for it."""
    return COPIES if body.isascii() and not WIDE.search(body) else WIDE_COPIES


async def image_in_json(body: bytes) -> tuple[bytes, Mapping[str, object]]:
    """The image's bytes, not checked, and the request's parameters.

    Raises `BadRequest` for other JSON and other bodies, `UnsupportedType` for a URL, and `BadParameter` for an unknown name.
    """
    document = parse_object(body, EXAMPLE)
    del body
    inputs, parameters = document.pop("inputs", None), document.pop("parameters", None)
    for value in (inputs, *document.values()):
        if isinstance(value, str) and URL.match(value[:VALUE_LENGTH]):
            raise UnsupportedType(URLS.format(excerpt(value[: 2 * VALUE_LENGTH])))
    if not isinstance(inputs, str):
        raise BadRequest(f"the JSON has no text `inputs`; send {json.dumps(EXAMPLE)}")
    if document:
        name = printable(next(iter(document)), VALUE_LENGTH)
        raise BadParameter(f"the JSON has an unknown name {name}; put it into parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise BadParameter(f"parameters: must be an object of names and values, got {excerpt(parameters)}")
    return await _decode(inputs), parameters or {}


def parse_object(body: bytes, example: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object in a body. `example` is shown in errors. Raises `BadRequest`."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise BadRequest(f"the JSON has more than {MOST_VALUES} values; send only images and parameters")
    if UTF_16.match(body):
        raise BadRequest(f"the JSON is in UTF-16 or UTF-32, and must be in UTF-8; send {json.dumps(example)}")
    try:
        document = from_json(body.removeprefix(BYTE_ORDER_MARK), allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}; send {json.dumps(example)}") from error
    if not isinstance(document, dict):
        raise BadRequest(f"the JSON is no object; send {json.dumps(example)}")
    return document


async def _decode(text: str) -> bytes:
    """The bytes of base64 text, or of a data URL. Between pieces, the event loop serves other requests. Raises `BadRequest`."""
    pieces = []
    begin = prefix.end() if (prefix := DATA_URL.match(text)) else 0
    try:
        if text.find("=", begin, len(text) - 2) >= 0:
            raise ValueError("padding stands before its end")
        for start in range(begin, len(text), PIECE):
            pieces.append(binascii.a2b_base64(text[start : start + PIECE], strict_mode=True))
            await asyncio.sleep(0)
    except ValueError as error:
        advice = 'write the image as base64 without line breaks: {"inputs": "\'$(base64 -w0 photo.jpg)\'"}'
        raise BadRequest(f"`inputs` is not base64: {error}; {advice}") from error
    return b"".join(pieces)
