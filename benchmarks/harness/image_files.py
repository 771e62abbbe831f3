"""Image files put together by Pillow or byte by byte."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def file_of(image: Image.Image, format: str, **options: object) -> bytes:
    """The image in this format; options are those of Pillow's `save`."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum. kind: four letters."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, depth: int, color_type: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG of these filtered rows. depth, color_type: as its header has them. chunks: before the rows, such as `tRNS`."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0))
    between = b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + head + between + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bomb(side: int) -> bytes:
    """A PNG of some hundred bytes whose header announces side x side pixels of one bit."""
    return png_of(side, side, 1, 0, b"\0")
