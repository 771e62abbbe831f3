"""HEIF files that libheif does not write: a container of boxes around coded images (ISO/IEC 14496-12 and 23008-12).

Their pixels are known exactly: the images are coded without loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import pack

import numpy as np
from PIL import Image

from tests.support.images import Pixels
from tests.support.imaging.heic_files import heic_of

BRANDS = (b"mif1", b"heic")
ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap"


@dataclass(frozen=True)
class Coded:
    """An image as HEVC. size: (width, height). setup: the box of its parameter sets. unit: slices, each behind its length."""

    size: tuple[int, int]
    setup: bytes
    unit: bytes


def lossless_hevc(grey: Pixels, bits: int = 8) -> Coded:
    """HEVC of grey pixels (H, W) in samples of 8 or 10 bits, by x265. Sides: multiples of 8, at least 64: none is padded."""
    data = heic_of(Image.fromarray(np.ascontiguousarray(grey)), bits=bits, quality=-1)
    setup = data.index(b"hvcC") - 4
    end = setup + int.from_bytes(data[setup : setup + 4], "big")
    return Coded((grey.shape[1], grey.shape[0]), data[setup:end], data[data.index(b"mdat") + 4 :])


def heif(
    images: Sequence[Coded],
    *,
    grid: tuple[int, int, int, int] | None = None,
    properties: Iterable[bytes] = (),
    beside: Coded | None = None,
    meaning: bytes = ALPHA,
    brands: Sequence[bytes] = BRANDS,
    primary: int = 1,
) -> bytes:
    """A file of these images, whose ids count from 1. grid: (rows, columns, width, height) of an image of all as tiles.

    properties: boxes of the primary image, in this order (`turned`, `mirrored`). beside: an auxiliary image of the
    primary one, with this meaning.
    """
    files = [*images, *([beside] if beside else [])]
    entries, boxes, links, payloads, references = [], list[bytes](), list[bytes](), list[bytes](), b""
    for number, image in enumerate(files, 1):
        flags = 1 if grid and number <= len(images) else 0
        entries.append(_full(b"infe", 2, flags, pack(">HH4sx", number, 0, b"hvc1")))
        boxes += [image.setup, _full(b"ispe", 0, 0, pack(">II", *image.size))]
        places = [0x80 | len(boxes) - 1, len(boxes)]
        payloads.append(image.unit)
        if image is beside:
            boxes.append(_full(b"auxC", 0, 0, meaning + b"\0"))
            places.append(0x80 | len(boxes))
        links.append(pack(">HB", number, len(places)) + bytes(places))
    if grid:
        primary = len(files) + 1
        rows, columns, *size = grid
        entries.append(_full(b"infe", 2, 0, pack(">HH4sx", primary, 0, b"grid")))
        payloads.append(pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size))
        boxes.append(_full(b"ispe", 0, 0, pack(">II", *size)))
        links.append(pack(">HBB", primary, 1, len(boxes)))
        tiles = range(1, len(images) + 1)
        references += _box(b"dimg", pack(f">HH{len(tiles)}H", primary, len(tiles), *tiles))
    if beside:
        references += _box(b"auxl", pack(">HHH", len(images) + 1, 1, primary))
    for each in properties:
        boxes.append(each)
        index = next(at for at, link in enumerate(links) if link[:2] == pack(">H", primary))
        links[index] = links[index][:2] + bytes([links[index][2] + 1]) + links[index][3:] + bytes([0x80 | len(boxes)])
    ftyp = _box(b"ftyp", brands[0] + bytes(4) + b"".join(brands))

    def meta(start: int) -> bytes:
        places = b""
        for number, payload in enumerate(payloads, 1):
            places += pack(">HHHII", number, 0, 1, start, len(payload))
            start += len(payload)
        parts = [
            _full(b"hdlr", 0, 0, pack(">I4s13x", 0, b"pict")),
            _full(b"pitm", 0, 0, pack(">H", primary)),
            _full(b"iloc", 0, 0, pack(">BBH", 0x44, 0, len(payloads)) + places),
            _full(b"iinf", 0, 0, pack(">H", len(entries)) + b"".join(entries)),
            _full(b"iref", 0, 0, references) if references else b"",
            _box(b"iprp", _box(b"ipco", b"".join(boxes)) + _full(b"ipma", 0, 0, pack(">I", len(links)) + b"".join(links))),
        ]
        return _full(b"meta", 0, 0, b"".join(parts))

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + _box(b"mdat", b"".join(payloads))


def cropped(width: int, height: int, right: int, down: int) -> bytes:
    """The property of an image of which a part is shown, so many pixels beside its middle."""
    return _box(b"clap", pack(">4I4i", width, 1, height, 1, right, 1, down, 1))


def turned(quarters: int) -> bytes:
    """The property of an image that is shown turned by so many quarters, against the clock."""
    return _box(b"irot", bytes([quarters]))


def mirrored(axis: int) -> bytes:
    """The property of an image that is shown mirrored; 0 exchanges its top and bottom, 1 its left and right."""
    return _box(b"imir", bytes([axis]))


def _box(kind: bytes, payload: bytes) -> bytes:
    return pack(">I", 8 + len(payload)) + kind + payload


def _full(kind: bytes, version: int, flags: int, payload: bytes) -> bytes:
    return _box(kind, bytes([version]) + flags.to_bytes(3, "big") + payload)
