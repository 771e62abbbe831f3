"""Says in words why a decoder could not read a file of an accepted format."""

from __future__ import annotations

from imaging.formats.avif import is_cut_off
from imaging.formats.headers import format_of

LEAST_BYTES, LEAST_VALUES = 2000, 240  # of a compressed file that misses two values of bytes by chance once in millions
SAMPLE_BYTES = 1 << 16  # whose values are counted
WITHOUT_LINE_BREAKS = "it has no byte of a line break, as after curl's -d; send it with curl --data-binary @photo.jpg"


def lacks_line_breaks(data: bytes) -> bool:
    """Whether a binary file has no byte of a line feed or carriage return, because a program took it for text."""
    if len(data) < LEAST_BYTES or b"\n" in data or b"\r" in data:
        return False
    return len(set(data[:SAMPLE_BYTES])) >= LEAST_VALUES


def damage_of(data: bytes, error: Exception) -> str:
    """What is wrong with the file, for an error that a decoder raised on it."""
    kind = format_of(data[:12])
    cut_webp = kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)  # RFC 9649, section 2.4
    if cut_webp or (kind == "AVIF" and is_cut_off(data)) or "truncated" in str(error).lower():
        return "the file ends early"
    return f"the {kind} cannot be decoded"
