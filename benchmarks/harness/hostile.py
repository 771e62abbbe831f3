"""Small files that are made to cost much, and must be refused for little; and files damaged at random."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache, partial

from PIL import Image

from benchmarks.harness.image_files import bomb, chunk, file_of, png_of

# bytes in which decoders take a number for a length, a size or a marker
TELLING = (b"\xff\xff\xff\xff", b"\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\x80", b"\xff\xda", b"\0\1", b"\x10\0")
# an extension without content, behind which Pillow takes a frame of 1x1 pixels for a block
QUIRK = b"!\xf9\0\x0a,\0\0\0\0\1\0\1\0\0\0"


def scan_bomb(scans: int, side: int = 2048, format: str = "JPEG") -> bytes:
    """A progressive JPEG whose last scan is repeated until it has so many."""
    color = Image.new("RGB", (side, side))
    options = {"save_all": True, "append_images": [Image.new("RGB", (16, 16))]} if format == "MPO" else {}
    data = file_of(color, format, progressive=True, **options)
    end = data.index(b"\xff\xd9")
    last = data.rindex(b"\xff\xda", 0, end)
    return data[:end] + data[last:end] * (scans - data.count(b"\xff\xda", 0, end)) + data[end:]


def tiff_tile(tile: int, side: int = 16) -> bytes:
    """A TIFF of side x side grey pixels in one deflated tile of tile x tile."""
    content = _deflated_zeros(tile * tile)
    tags = {
        256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile, 324: 8 + 2 + 10 * 12 + 4, 325: len(content)
    }  # fmt: skip
    return tiff_of(tags) + content


def fax(rows: int, **tile: int) -> bytes:
    """A grey TIFF of 1 x rows pixels in CCITT's T.4, each row of which is damaged; in tiles of these sides where given."""
    content, where = b"\xa5\x00\x17" * (rows // 2), (324, 325) if tile else (273, 279)
    sides = {322: tile["across"], 323: tile["down"]} if tile else {278: rows}
    tags = {256: 1, 257: rows, 258: 1, 259: 3, 262: 0, 277: 1, where[1]: len(content)} | sides
    return tiff_of(tags | {where[0]: 8 + 2 + 12 * (len(tags) + 1) + 4}) + content


def tiff_of(tags: dict[int, int], *more: tuple[int, int, int, int]) -> bytes:
    """A little-endian TIFF without pixels: tags of one LONG each, and entries as they are."""
    entries = [(tag, 4, 1, value) for tag, value in tags.items()]
    directory = b"".join(struct.pack("<HHII", *each) for each in sorted([*entries, *more]))
    return b"II*\0" + struct.pack("<IH", 8, len(entries) + len(more)) + directory + bytes(4)


def _deflated_zeros(count: int) -> bytes:
    packer = zlib.compressobj(9)
    full, rest = divmod(count, 1 << 20)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(full)) + packer.compress(bytes(rest)) + packer.flush()


def gif_of(screen: int, extent: int, before: bytes = b"", disposal: int = 2) -> bytes:
    """A GIF without pixels whose only frame has this extent."""
    control = b"!\xf9\4" + bytes([disposal << 2]) + b"\0\0\0\0"
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + bytes(6)
    return head + before + control + b"," + struct.pack("<HHHHB", 0, 0, extent, extent, 0) + b"\2\1\0\0;"


def bmp_of(width: int, height: int, bits: int, compression: int, content: bytes = b"") -> bytes:
    palette = b"".join(bytes([value, 0, 0, 0]) for value in range(256)) if bits == 8 else b""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(palette) + len(content), 0, 0, 54 + len(palette)) + info + palette + content


def webp_of(side: int) -> bytes:
    """A lossless WebP that announces this side."""
    stream = b"\x2f" + ((side - 1) | (side - 1) << 14).to_bytes(4, "little") + bytes(1000)
    chunk = b"VP8L" + struct.pack("<I", len(stream)) + stream + b"\0" * (len(stream) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def avif_that_says(side: int) -> bytes:
    """An AVIF of 512x512 pixels whose description says another side (its box `ispe`)."""
    data = bytearray(file_of(Image.radial_gradient("L").resize((512, 512)), "AVIF"))
    start = data.index(b"ispe") + 8
    data[start : start + 8] = struct.pack(">II", side, side)
    return bytes(data)


def png_with(*chunks: bytes) -> bytes:
    """A PNG of one pixel with these chunks before it."""
    data = png_of(1, 1, 8, 0, b"\0\0")
    return data[:33] + b"".join(chunks) + data[33:]


def jpeg_with(content: bytes) -> bytes:
    """A JPEG of 16x16 pixels with these bytes behind its start."""
    data = file_of(Image.new("RGB", (16, 16)), "JPEG")
    return data[:2] + content + data[2:]


def overlapping_strips(rows: int, width: int = 100_000) -> bytes:
    """An uncompressed TIFF whose strips, a row each, begin a byte after one another: Pillow reads it a byte at a time."""
    head = 8 + 2 + 12 * 8 + 4
    bits, offsets = head, head + 6
    pixels = offsets + 4 * rows
    entries = [(258, 3, 3, bits), (273, 4, rows, offsets)]
    tags = {256: width, 257: rows, 259: 1, 262: 2, 277: 3, 278: 1}
    return b"".join((
        tiff_of(tags, *entries), struct.pack("<3H", 8, 8, 8), struct.pack(f"<{rows}I", *range(pixels, pixels + rows)),
        bytes(3 * width + rows),
    ))  # fmt: skip


def exif_of(entries: int) -> bytes:
    """EXIF with so many tags, each of some hundred numbers that lie in one place."""
    directory = b"".join(struct.pack("<HHII", 0xA000 + tag % 0x4000, 3, 120, 8) for tag in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + directory + bytes(4)


def webp_with_exif(exif: bytes) -> bytes:
    """A WebP of 16x16 pixels with this EXIF."""
    data = file_of(Image.new("RGB", (16, 16)), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    start = data.index(b"EXIF")
    body = data[12:start] + b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def jpeg_of_markers(count: int) -> bytes:
    """A progressive JPEG with what looks like a hundred starts of scans before its end, and so many markers without content."""
    data = file_of(Image.new("RGB", (16, 16)), "JPEG", progressive=True)
    end = data.rindex(b"\xff\xd9")
    return data[:end] + b"\xff\xda" * 101 + b"\xff\x01" * count + data[end:]


def gif_block_ended_at_once(extent: int) -> bytes:
    """A GIF whose extension ends with its name, behind which a walk may see a frame of one pixel, and Pillow a huge one."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    decoy = (b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0)).ljust(45, b"\1") + b"\0"
    frame = b"," + struct.pack("<HHHHB", 0, 0, extent, extent, 0) + b"\2\1\0\0;"
    return head + b"!\xff\x0bNETSCAPE2.0\0" + decoy + b"!\xf9\4\x08\0\0\0\0" + frame


@cache
def _text(mebi: int, letter: str = "x") -> bytes:
    return zlib.compress((letter * (mebi << 20)).encode()[: mebi << 20], 9)


def _truncate(format: str) -> bytes:
    data = file_of(Image.radial_gradient("L").resize((600, 400)).convert("RGB"), format)
    return data[: len(data) // 2]


def mutate(source: random.Random, originals: Sequence[bytes]) -> bytes:
    """One of the originals, damaged: bytes changed (most of them near its start), parts repeated, removed or exchanged."""
    data = bytearray(source.choice(originals))
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        reach = min(len(data), source.choice((64, 300, len(data)))) or 1
        start = source.randrange(reach)
        end = start + source.choice((1, 4, 30, 400))
        kind = source.randrange(6)
        if kind <= 1:
            data[start : start + 1] = bytes([source.randrange(256)])
        elif kind == 2:
            number = source.choice(TELLING)
            data[start : start + len(number)] = number
        elif kind == 3:
            data[start:end] = data[start:end] * source.choice((0, 2, 50))
        elif kind == 4:
            data[start:end] = source.choice(originals)[start:end]
        elif source.randrange(4) == 0:
            del data[source.randrange(len(data) + 1) :]
    return bytes(data)


@cache
def hostile(kind: str) -> bytes:
    """Such a file, of some megabytes at most."""
    return HOSTILE[kind]()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "scan bomb": lambda: scan_bomb(1000),
    "scan bomb of many more": lambda: scan_bomb(5000),
    "scan bomb in a multi-picture jpeg": lambda: scan_bomb(1000, format="MPO"),
    "jpeg of comments": lambda: jpeg_with(b"\xff\xfe\0\2" * 1_000_000),
    "jpeg of exif": lambda: jpeg_with((b"\xff\xe1\xff\xff" + b"Exif\0\0".ljust(65533, b"\0")) * 200),
    "jpeg of stray bytes": lambda: jpeg_with(b"\xff\xfe\0\2" + bytes(10_000_000)),
    "png bomb": lambda: bomb(20_000),
    "png of inflating text": lambda: png_with(*[chunk(b"zTXt", b"k%d\0\0" % key + _text(1)) for key in range(64)]),
    "png of inflating wide text": lambda: png_with(
        *[chunk(b"iTXt", b"k%d\0\1\0\0\0" % key + _text(1, "\U0001f600")) for key in range(64)]
    ),
    "png of one huge text": lambda: png_with(chunk(b"zTXt", b"k\0\0" + _text(64))),
    "png of a huge profile": lambda: png_with(chunk(b"iCCP", b"k\0\0" + _text(64))),
    "png of several profiles": lambda: png_with(*[chunk(b"iCCP", b"k\0\0" + _text(1))] * 2),
    "png of much beside its pixels": lambda: png_with(chunk(b"prVt", bytes(20_000_000))),
    "png of empty chunks": lambda: png_with(chunk(b"aaAa", b"") * 500_000),
    "gif of a huge screen": lambda: gif_of(65535, 1),
    "gif of a huge frame": lambda: gif_of(1, 65535),
    "gif of a huge frame behind a quirk": lambda: gif_of(1, 65535, before=QUIRK),
    "gif of comments": lambda: gif_of(1, 1, before=b"!\xfe" + b"\2ab" * 2_000_000 + b"\0"),
    "gif of stray bytes": lambda: gif_of(1, 1, before=b"x" * 5_000_000),
    "bmp that lies": lambda: bmp_of(10_000, 10_000, 24, 0),
    "bmp of a huge side": lambda: bmp_of(2_000_000_000, 1, 24, 0),
    "bmp of run lengths": lambda: bmp_of(10_000, 10_000, 8, 1, b"\1\1\0\0" * 10_000),  # a pixel and the end of its row
    "webp bomb": lambda: webp_of(16_383),
    "tiff of a huge tile": lambda: tiff_tile(16_384),
    "tiff that names a huge tile twice": lambda: tiff_of(
        {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 322: 16, 323: 16, 324: 8}, (322, 4, 1, 60_000)
    ),
    "tiff of many fax rows": lambda: fax(1_000_000),
    "tiff of many fax rows in tiles": lambda: fax(16, across=16, down=1_000_000),
    "tiff of many strips": lambda: (
        tiff_of({256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 278: 1}, (273, 4, 2_000_000, 8)) + bytes(8_000_000)
    ),
    "tiff of many numbers in its exif": lambda: (
        tiff_of({256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 34665: 98})
        + struct.pack("<HHHII", 1, 37500, 3, 4_000_000, 8)
        + bytes(8_000_000)
    ),
    "tiff of overlapping strips": lambda: overlapping_strips(100),
    "tiff whose directory points to itself": lambda: tiff_of({256: 16, 257: 16}, *[(34665, 1, 1, 8)] * 460),
    "gif whose block ends at once": lambda: gif_block_ended_at_once(60_000),
    "jpeg of markers": lambda: jpeg_of_markers(5_000_000),
    "jpeg of segments between scans": lambda: scan_bomb(3).replace(b"\xff\xda", b"\xff\xfe\0\2" * 500_000 + b"\xff\xda"),
    "png of a thousand profiles": lambda: png_with(*[chunk(b"iCCP", b"k\0\0" + _text(1))] * 1000),
    "png of exif": lambda: png_with(chunk(b"eXIf", exif_of(60_000))),
    "png of exif as text": lambda: png_with(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n" + exif_of(60_000).hex().encode()))
    ),
    "webp of exif": lambda: webp_with_exif(b"Exif\0\0" + exif_of(60_000)),
    "tiff of exif": lambda: (
        tiff_of({256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 34665: 98}) + exif_of(60_000)[8:] + bytes(800)
    ),
    "png of empty pixels": lambda: png_with(chunk(b"IDAT", b"") * 65_000),
    **{f"truncated {format}": partial(_truncate, format) for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")},
    "avif of a huge side": partial(avif_that_says, 60_000),
    "avif that lies": partial(avif_that_says, 8),
}
