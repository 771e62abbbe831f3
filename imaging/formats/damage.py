"""Says in words why a decoder could not read a file of an accepted format."""

from __future__ import annotations

from imaging.formats.avif import is_cut_off
from imaging.formats.headers import format_of


def damage_of(data: bytes, error: Exception) -> str:
    """What is wrong with the file, for an error that a decoder raised on it."""
    kind = format_of(data[:12])
    cut_webp = kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)  # RFC 9649, section 2.4
    if cut_webp or (kind == "AVIF" and is_cut_off(data)) or "truncated" in str(error).lower():
        return "the file ends early"
    return f"the {kind} cannot be decoded"
