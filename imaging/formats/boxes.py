"""Reads WebP (RFC 9649, section 2) and AVIF (ISO/IEC 14496-12, section 4.2; 23008-12) before their decoders open them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from imaging.errors import UnknownImageType

DESCRIPTIONS = (b"meta", b"moov")  # boxes of an AVIF that describe images and sequences; pixels are in other boxes
CLEAN_APERTURE = b"clap"


class WebPHeader(NamedTuple):
    """size: (width, height) in pixels. exif: empty without one. frame: the part that the first frame of several covers."""

    size: tuple[int, int]
    exif: bytes = b""
    frame: tuple[int, int, int, int] | None = None


def read_webp_header(data: bytes) -> WebPHeader | None:
    """A WebP's header; None if the size cannot be read.

    The decoder takes memory for all pixels when it opens a file.
    """
    kind = data[12:16] if len(data) >= 30 else b""
    if kind == b"VP8X":
        size = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        exif = next((data[start + 8 : end] for kind, start, end in _webp_chunks(data) if kind == b"EXIF"), b"")
        if place := next((start + 8 for kind, start, _ in _webp_chunks(data) if kind == b"ANMF"), 0):
            left, top, width, height = (int.from_bytes(data[at : at + 3], "little") for at in range(place, place + 12, 3))
            return WebPHeader(size, exif, (2 * left, 2 * top, 2 * left + width + 1, 2 * top + height + 1))
        return WebPHeader(size, exif)
    if kind == b"VP8 ":
        return WebPHeader((int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF))
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return WebPHeader(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
    return None


def check_avif(data: bytes) -> None:
    """Raises `UnknownImageType` for an AVIF that shows a part of its pixels: the decoder ignores that and returns all."""
    for kind, start, end in boxes_of(data):
        if kind in DESCRIPTIONS and data.find(CLEAN_APERTURE, start, end) >= 0:
            raise UnknownImageType(
                "the image is an AVIF that shows a part of its pixels (a clean aperture), which is not read; save it cropped"
            )


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind, start and end of each chunk. What stands behind the length that the file names is no part of it."""
    start, stop = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while start + 8 <= stop:
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        yield data[start : start + 4], start, end
        start = end + end % 2


def has_turn(data: bytes) -> bool:
    """Whether an AVIF or HEIF has a property that turns or mirrors an image (ISO/IEC 23008-12, sections 6.5.10 and 6.5.12)."""
    places = [(start + 12, end) for kind, start, end in boxes_of(data) if kind == b"meta"]
    for name in (b"iprp", b"ipco"):
        places = [(start + 8, end) for place in places for kind, start, end in boxes_of(data, *place) if kind == name]
    properties = [(kind, data[start + 8 : start + 9]) for place in places for kind, start, _ in boxes_of(data, *place)]
    return any(kind == b"imir" or (kind == b"irot" and value != b"\0") for kind, value in properties)


def boxes_of(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind, start and end of each box between two places. The last end may lie beyond, in a truncated file."""
    stop = len(data) if stop is None else min(stop, len(data))
    while start + 8 <= stop:
        length = int.from_bytes(data[start : start + 4], "big")
        if length == 1:  # the length follows the kind
            length = int.from_bytes(data[start + 8 : start + 16], "big")
        end = start + length if length else stop
        if end < start + 8:
            return
        yield data[start + 4 : start + 8], start, end
        start = end
