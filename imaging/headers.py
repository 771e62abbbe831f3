"""What a file says of itself, read from its bytes before Pillow opens it: what would cost more than its pixels do is refused.

Each walk takes milliseconds, whatever the bytes, and keeps to what Pillow and the decoder below it read. What is merely
broken is left for them to refuse.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imaging.errors import DamagedImage, UnknownImageType

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
GIF = (b"GIF87a", b"GIF89a")
TIFF = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")  # with two that are wrong, but read
# libjpeg's own progressive script has 10 scans, mozjpeg writes some dozen; libtiff stops at 100 as well
SCANS = 100
SCANNED_MEGAPIXELS = 2000.0  # scans x megapixels: a scan without content takes about 0.8 ms a megapixel
SEGMENTS = 4096  # before a JPEG's pixels: Pillow reads them in Python
HEADER_BYTES = 1 << 24  # before a JPEG's pixels, or beside a PNG's: kept in memory by Pillow
EXIF_BYTES = 1 << 20  # Pillow joins them one by one
STRAY_BYTES = 1 << 16  # between the segments of a JPEG: Pillow reads them one by one
CHUNKS = 1 << 16  # of a PNG; libpng writes one for every 8 kB
BLOCKS = 1 << 16  # of at most 255 bytes, and stray bytes between them, before the pixels of a GIF
TAGS = 4096  # of a TIFF
TAG_VALUES = 1 << 18  # numbers in a TIFF's tags: a palette of 16 bits has 196,608
TILE_PIXELS = 1 << 24  # of a TIFF, where the image itself is smaller than 4096x4096
FAX_ROWS = 1 << 16  # libtiff takes a microsecond for one of no content, and writes a line to stderr for each damaged one
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
SOF = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
SOS, EOI, EXIF = 0xDA, 0xD9, 0xE1
# without a length: restarts, start and end of an image, JPG and the reserved ones
BARE = (0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE))
BYTE, ASCII, SHORT, LONG, UNDEFINED, LONG8 = 1, 2, 3, 4, 7, 16  # types of a TIFF's tags
BYTES_TYPES = (BYTE, ASCII, UNDEFINED)  # what Pillow keeps as bytes
WIDTH, LENGTH, COMPRESSION, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH = 256, 257, 259, 278, 322, 323
SINGLE = (WIDTH, LENGTH, COMPRESSION, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH)
FAX = (2, 3, 4, 32771)  # compressions of CCITT
FURTHER_DIRECTORIES = (34665, 34853, 40965)  # EXIF, GPS, interoperability


@dataclass(frozen=True)
class Header:
    """What a walk found.

    size: (width, height) that the file announces, where Pillow takes memory by it or might read another one than its decoder;
    coefficient_bytes: what libjpeg keeps of a JPEG in several scans, beside the pixels;
    tile_pixels: of a TIFF's largest strip or tile, which libtiff decodes as a whole.
    """

    size: tuple[int, int] | None = None
    coefficient_bytes: int = 0
    tile_pixels: int = 0


def read_header(data: bytes) -> Header:
    """Walks what stands before the pixels. Raises `DamagedImage` for what is there in numbers that no image needs."""
    if data.startswith(JPEG):
        return _read_jpeg(data)
    if data.startswith(PNG):
        return _read_png(data)
    if data.startswith(GIF):
        return _read_gif(data)
    if data.startswith(TIFF):
        return _read_tiff(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Header(size=_webp_size(data))
    return Header()


def _bounded(number: float, most: float, what: str) -> None:
    if number > most:
        raise DamagedImage(f"the image is damaged: {what}; at most {most:,.0f} are taken; save it anew")


def _read_jpeg(data: bytes) -> Header:
    """The segments up to the first scan as Pillow reads them, then the scans as libjpeg does."""
    position, segments, stray, exif = 2, 0, 0, 0
    frame, kind, marker = b"", 0, 0
    while marker != SOS and (found := data.find(b"\xff", position)) >= 0 and found + 1 < len(data):
        marker = data[found + 1]
        stray += found - position
        position = start = found + 2
        if marker in (0, 0xFF):  # a byte that fills, or belongs to nothing
            stray += 1
            position -= marker == 0xFF
        elif marker < 0xC0:
            break
        elif marker not in BARE:
            start, position = position + 2, position + max(2, int.from_bytes(data[position : position + 2], "big"))
            if marker in SOF:
                frame, kind = data[start:position], marker
            elif marker == EXIF and data.startswith(b"Exif\0\0", start):
                exif += position - start
        segments += 1
        _bounded(segments, SEGMENTS, "it has more segments before its pixels than any camera writes")
        _bounded(stray, STRAY_BYTES, "bytes that belong to nothing stand before its pixels")
        _bounded(position, HEADER_BYTES, f"its pixels begin after {position:,} bytes")
        _bounded(exif, EXIF_BYTES, f"its EXIF has {exif:,} bytes")
    if len(frame) < 9 or marker != SOS:
        return Header()
    height, width = struct.unpack_from(">HH", frame, 1)
    if kind not in PROGRESSIVE and data[start : start + 1] == frame[5:6]:  # all components in the first scan: there is no other
        return Header((width, height))
    most = max(1, min(SCANS, int(SCANNED_MEGAPIXELS * 1e6 / max(1, width * height))))
    scans = data.count(b"\xff\xda")  # stuffed bytes make this the most that there can be; segments and trailers may hold some
    if scans > most:
        scans = _count_scans(data, most)
    _bounded(scans, most, f"it has {scans} scans or more at {width}x{height} pixels")
    return Header((width, height), _coefficient_bytes(frame, width, height))


def _count_scans(data: bytes, most: int) -> int:
    """The scans of the first picture, until there are more than `most`. Inside a segment FF DA is no scan."""
    scans, position = 0, 2
    while scans <= most and (found := MARKER.search(data, position)):
        position, marker = found.end(), data[found.end() - 1]
        if marker == EOI:
            break
        scans += marker == SOS
        if marker >= 0xC0 and marker not in BARE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return scans


def _coefficient_bytes(frame: bytes, width: int, height: int) -> int:
    """libjpeg keeps 2 bytes a coefficient of all components until the last scan, in whole units of blocks."""
    factors = [(each >> 4 or 1, each & 15 or 1) for each in frame[7::3]]
    across, down = max(each[0] for each in factors), max(each[1] for each in factors)
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    return units * sum(horizontal * vertical for horizontal, vertical in factors) * 128


def _read_png(data: bytes) -> Header:
    """The number of chunks, and the bytes of those that Pillow keeps."""
    kept = 0
    for chunks, (kind, start, end) in enumerate(png_chunks(data), 1):
        if kind not in (b"IDAT", b"fdAT"):
            kept += min(end - start - 12, len(data) - start)
        _bounded(chunks, CHUNKS, "it has more chunks than any program writes")
        _bounded(kept, HEADER_BYTES, f"{kept:,} bytes stand beside its pixels")
        if kind == b"IEND":
            break
    return Header()


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, first byte, and the one behind its last, which may be missing (PNG, third edition, section 5.3)."""
    start = 8
    while start + 8 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], start, end
        start = end


def _read_gif(data: bytes) -> Header:
    """The size with the first frame's extent, which may pass the screen's: Pillow takes memory by it as it opens the file."""
    if len(data) < 13:
        return Header()
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position, steps = 13 + ((6 << (flags & 7)) if flags & 128 else 0), 0

    def skip_blocks(position: int, count: int) -> tuple[int, int]:
        """Behind the end of the blocks, and the steps that it took."""
        while position < len(data) and data[position]:
            position += 1 + data[position]
            count += 1
            _bounded(count, BLOCKS, "it has more blocks before its pixels than any program writes")
        return position + 1, count + 1

    while position < len(data) and data[position] != ord(";"):
        _bounded(steps, BLOCKS, "it has more blocks before its pixels than any program writes")
        if data[position] == ord("!"):
            label = data[position + 1 : position + 2]
            empty = data[position + 2 : position + 3] == b"\0"
            position, steps = skip_blocks(position + 2, steps)
            if empty and label != b"\xfe":  # Pillow reads on as if the first block had not been the end
                position, steps = skip_blocks(position, steps)
        elif data[position] == ord(",") and position + 10 <= len(data):
            left, top, across, down = struct.unpack_from("<HHHH", data, position + 1)
            return Header(size=(max(width, left + across), max(height, top + down)))
        else:
            position, steps = position + 1, steps + 1
    return Header(size=(width, height))


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """The canvas (RFC 9649, section 2): Pillow's decoder takes memory by it as it opens the file."""
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _read_tiff(data: bytes) -> Header:
    """The first directory's tags: how many, and what a strip or tile of it takes."""
    order, big = "<" if data[:2] == b"II" else ">", data[2] == 43
    if data.startswith(b"MM\0+"):  # Pillow reads its head as a classic one, libtiff as it is
        raise UnknownImageType("the image is a big-endian BigTIFF, which is not read; save it little-endian, or as TIFF 6.0")
    if len(data) < 16:
        return Header()
    (start,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)
    tags = _Directory(data, order, big).read(start)
    width, height = tags.get(WIDTH, 0), tags.get(LENGTH, 0)
    tiled = TILE_WIDTH in tags or TILE_LENGTH in tags
    if tags.get(COMPRESSION) in FAX:
        stated = f"{width}x{height} pixels in a fax's compression"
        _bounded(_coded_rows(tags, width, height) if tiled else height, FAX_ROWS, f"it has more rows than a fax: {stated}")
    if not tiled:
        return Header(tile_pixels=width * min(tags.get(ROWS_PER_STRIP, height), height))
    across, down = tags.get(TILE_WIDTH, 0), tags.get(TILE_LENGTH, 0)
    whole = -(-width // 16) * -(-height // 16) * 256
    stated = f"its tiles have {across}x{down} pixels at an image of {width}x{height}"
    _bounded(across * down, max(TILE_PIXELS, whole), stated)
    return Header(tile_pixels=across * down)


def _coded_rows(tags: dict[int, int], width: int, height: int) -> int:
    """Rows of all tiles together."""
    across, down = max(1, tags.get(TILE_WIDTH, 0)), max(1, tags.get(TILE_LENGTH, 0))
    return -(-width // across) * -(-height // down) * down


class _Directory:
    """Reads directories of a TIFF (TIFF 6.0, section 2; BigTIFF), and counts the numbers in their tags."""

    def __init__(self, data: bytes, order: str, big: bool) -> None:
        self.data, self.order = data, order
        self.head, self.entry = (f"{order}Q", f"{order}HHQ") if big else (f"{order}H", f"{order}HHI")
        self.stride, self.inline = (20, 12) if big else (12, 8)
        self.kinds = {BYTE: "B", SHORT: "H", LONG: "I"} | ({LONG8: "Q"} if big else {})
        self.values = 0

    def read(self, start: int, depth: int = 0) -> dict[int, int]:
        """The tags that hold a single integer; those of the directories below it are counted alone."""
        if start + struct.calcsize(self.head) > len(self.data):
            return {}
        (count,) = struct.unpack_from(self.head, self.data, start)
        start += struct.calcsize(self.head)
        count = min(count, (len(self.data) - start) // self.stride)
        _bounded(count, TAGS, f"it has {count} tags")
        tags: dict[int, int] = {}
        for position in range(start, start + count * self.stride, self.stride):
            tag, kind, number = struct.unpack_from(self.entry, self.data, position)
            self.values += number if kind not in BYTES_TYPES and number <= len(self.data) else 0
            _bounded(self.values, TAG_VALUES, f"its tags hold {self.values:,} numbers")
            single = number == 1 and kind in self.kinds
            if tag in SINGLE and (tag in tags or not single):  # libtiff might take another than Pillow does
                raise DamagedImage(f"the image is damaged: its tag {tag} is not one whole number; save it anew")
            if single:
                (tags[tag],) = struct.unpack_from(f"{self.order}{self.kinds[kind]}", self.data, position + self.inline)
            if tag in FURTHER_DIRECTORIES and depth < 2 and single:
                self.read(tags[tag], depth + 1)
        return tags
