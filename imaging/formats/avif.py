"""Checks an AVIF before its decoder opens it (AV1 Image File Format; ISO/IEC 14496-12, section 4.2, and 23008-12)."""

from __future__ import annotations

from collections.abc import Iterator

BRANDS = (b"avif", b"avis")
DESCRIPTIONS = (b"meta", b"moov")  # boxes that describe images and sequences; pixels are in other boxes
CLEAN_APERTURE = b"clap"


def is_avif(data: bytes) -> bool:
    """Whether the file's brands include AVIF's. A HEIC has the same boxes and other brands."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return any(brands[start : start + 4] in BRANDS for start in range(0, len(brands), 4) if start != 4)  # 4: a version


def avif_problem(data: bytes) -> str | None:
    """Why the decoder would read the file wrong, or None.

    A file with a clean aperture shows a part of its pixels. The decoder ignores that and returns all pixels.
    """
    for kind, start, end in _boxes(data):
        if kind in DESCRIPTIONS and data.find(CLEAN_APERTURE, start, end) >= 0:
            return "the image is an AVIF that shows a part of its pixels (a clean aperture), which is not read; save it cropped"
    return None


def is_cut_off(data: bytes) -> bool:
    """Whether a top-level box reaches beyond the data."""
    return any(end > len(data) for _, _, end in _boxes(data))


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind, start and end of each top-level box. In a truncated file, the last end may lie beyond the data."""
    start = 0
    while start + 8 <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        if length == 1:  # the length follows the kind
            length = int.from_bytes(data[start + 8 : start + 16], "big")
        end = start + length if length else len(data)
        if end < start + 8:
            return
        yield data[start + 4 : start + 8], start, end
        start = end
