"""Cheap checks of a file's bytes before Pillow opens it, and the signatures that tell formats apart.

The checks refuse early some files that would cost far more time than their pixels need. They are no security boundary; the
limits of the worker process are.
"""

from __future__ import annotations

from collections.abc import Iterator

from imaging.errors import DamagedImage, UnknownImageType

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
GIF = (b"GIF87a", b"GIF89a")
TIFF = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")  # the third and fourth are wrong, but Pillow reads them
CHUNKS = 4096  # limit for a PNG, besides the chunks of its pixels
PROFILES = 1  # limit for a PNG (third edition, section 5.6); Pillow would inflate each of them


def check_header(data: bytes) -> None:
    """Raises `DamagedImage` for a PNG with more chunks than any image needs.

    Raises `UnknownImageType` for a PNG in Apple's form, and for a big-endian BigTIFF, whose header Pillow and libtiff read
    differently.
    """
    if data.startswith(PNG):
        _check_chunks(data)
    if data.startswith(b"MM\0+"):  # Pillow reads its header as that of a classic TIFF, libtiff as BigTIFF
        raise UnknownImageType("the image is a big-endian BigTIFF, which is not read; save it little-endian, or as TIFF 6.0")


def format_of(start: bytes) -> str:
    """The name of the accepted format whose signature these first 12 bytes have, or `unknown`."""
    signatures = {"JPEG": (JPEG,), "PNG": (PNG,), "GIF": GIF, "TIFF": TIFF, "BMP": (b"BM",)}
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis"):
        return "AVIF"
    return next((name for name, prefixes in signatures.items() if start.startswith(prefixes)), "unknown")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields each chunk's kind, start offset and end offset (PNG, third edition, section 5.3).

    In a truncated file, the last end offset may lie beyond the data.
    """
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
        if kind == b"CgBI":  # before the header; without zlib's header, with blue before red, and premultiplied
            raise UnknownImageType(
                "the image is a PNG in Apple's form (CgBI), as Xcode writes it for iOS, which is not read; convert it: "
                "xcrun -sdk iphoneos pngcrush -revert-iphone-optimizations photo.png out.png"
            )
        if chunks > CHUNKS or profiles > PROFILES:
            problem = (
                f"it has more than {CHUNKS} chunks beside its pixels" if chunks > CHUNKS else "it has several colour profiles"
            )
            raise DamagedImage(f"the image is damaged: {problem}, as no program writes; save it again")
        if kind == b"IEND":
            return
