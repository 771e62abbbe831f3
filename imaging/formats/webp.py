"""Reads a WebP's size and EXIF without its decoder (RFC 9649, section 2).

The decoder allocates memory for the whole canvas when it opens a file.
"""

from __future__ import annotations

import struct
from typing import NamedTuple


class WebPHeader(NamedTuple):
    """size: the canvas's (width, height) in pixels. exif: content of the chunk `EXIF`, empty if there is none."""

    size: tuple[int, int]
    exif: bytes


def read_webp_header(data: bytes) -> WebPHeader | None:
    """Reads the header; None if the bytes are no WebP, or if the size cannot be read."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        size = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        return WebPHeader(size, _chunk(data, b"EXIF"))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return WebPHeader((width & 0x3FFF, height & 0x3FFF), b"")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return WebPHeader(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), b"")
    return None


def _chunk(data: bytes, kind: bytes) -> bytes:
    """The content of the first chunk of this kind; empty if there is none."""
    start = 12
    while start + 8 <= len(data):
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        if data[start : start + 4] == kind:
            return data[start + 8 : start + 8 + length]
        start += 8 + length + length % 2
    return b""
