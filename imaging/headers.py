"""Cheap checks of a file's bytes before Pillow opens it, and what formats have to be told apart by.

They refuse early what costs far more than its pixels do. They are not what protects: a worker process's limits are.
"""

from __future__ import annotations

from collections.abc import Iterator

from imaging.errors import DamagedImage, UnknownImageType

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
GIF = (b"GIF87a", b"GIF89a")
TIFF = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")  # with two that are wrong, but read
CHUNKS = 4096  # of a PNG, beside those of its pixels
PROFILES = 1  # of a PNG: Pillow inflates each (PNG, third edition, section 5.6: at most one)


def check_header(data: bytes) -> None:
    """Raises `DamagedImage` for a PNG with chunks in numbers that no image needs, `UnknownImageType` for a TIFF that Pillow and
    libtiff read differently."""
    if data.startswith(PNG):
        _check_chunks(data)
    if data.startswith(b"MM\0+"):  # Pillow reads its head as a classic one, libtiff as it is
        raise UnknownImageType("the image is a big-endian BigTIFF, which is not read; save it little-endian, or as TIFF 6.0")


def format_of(start: bytes) -> str:
    """The accepted format that a file with these first 12 bytes claims to be, or `unknown`."""
    signatures = {"JPEG": (JPEG,), "PNG": (PNG,), "GIF": GIF, "TIFF": TIFF, "BMP": (b"BM",)}
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    return next((name for name, each in signatures.items() if start.startswith(each)), "unknown")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, first byte, and the one behind its last, which may be missing (PNG, third edition, section 5.3)."""
    start = 8
    while start + 8 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], start, end
        start = end


def _check_chunks(data: bytes) -> None:
    chunks = profiles = 0
    for kind, start, end in png_chunks(data):
        chunks += kind not in (b"IDAT", b"fdAT") or end - start == 12
        profiles += kind == b"iCCP"
        if chunks > CHUNKS or profiles > PROFILES:
            stated = (
                f"it has more than {CHUNKS} chunks beside its pixels" if chunks > CHUNKS else "it has several colour profiles"
            )
            raise DamagedImage(f"the image is damaged: {stated}, as no program writes; save it anew")
        if kind == b"IEND":
            return
