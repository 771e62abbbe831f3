"""HEIF files made without libheif: HEVC in samples without compression, and a container of boxes around coded images.

ITU-T H.265 (2021), ISO/IEC 14496-12 and 23008-12. Their pixels are known exactly, as YCbCr.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import pack

import numpy as np

from tests.support.images import Pixels

BLOCK = 32  # pixels of a side of a coding tree block, which is the largest that may be coded without compression
VPS, SPS, PPS, IDR = 32, 33, 34, 19  # types of NAL units
BRANDS = (b"mif1", b"heic")
ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap"


class _Bits:
    """Collects bits, the first of a byte highest."""

    def __init__(self) -> None:
        self.text = ""

    def fixed(self, *numbers: tuple[int, int]) -> _Bits:
        """Adds (value, number of bits)."""
        self.text += "".join(f"{value:0{count}b}" for value, count in numbers if count)
        return self

    def golomb(self, *values: int) -> _Bits:
        """Adds Exp-Golomb codes (section 9.2)."""
        self.text += "".join("0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}" for value in values)
        return self

    def aligned(self, first: str = "1") -> bytes:
        """The bits, then `first`, then zeros up to a whole byte."""
        text = self.text + first
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


@dataclass(frozen=True)
class Coded:
    """An image as HEVC. size: (width, height). setup: its parameter sets. unit: its slices, each behind its length.

    color: 3 with colours, in 4:4:4; 0 without.
    """

    size: tuple[int, int]
    setup: tuple[bytes, bytes, bytes]
    unit: bytes
    bits: int
    color: int


def uncompressed_hevc(planes: Sequence[Pixels], bits: int = 8) -> Coded:
    """HEVC of Y, Cb and Cr (4:4:4), or of Y alone, each (H, W) in samples of this number of bits; a slice for each block."""
    height, width = planes[0].shape
    across, down = -(-width // BLOCK), -(-height // BLOCK)
    margin = ((0, down * BLOCK - height), (0, across * BLOCK - width))
    whole = [np.pad(plane, margin, mode="edge") for plane in planes]
    slices = []
    for place in range(across * down):
        row, column = place // across * BLOCK, place % across * BLOCK
        blocks = [plane[row : row + BLOCK, column : column + BLOCK] for plane in whole]
        slices.append(_slice(place, (across * down - 1).bit_length(), blocks, bits))
    color, chroma = (3, 1) if len(planes) == 3 else (0, 0)
    level = [(0, 2), (0, 1), (4, 5), (1 << 27, 32), (0, 48), (186, 8)]  # a profile with range extensions, level 6.2
    vps = _Bits().fixed((0, 4), (3, 2), (0, 6), (0, 3), (1, 1), (0xFFFF, 16), *level, (1, 1)).golomb(0, 0, 0)
    vps.fixed((0, 6)).golomb(0).fixed((0, 2))
    sps = _Bits().fixed((0, 4), (0, 3), (1, 1), *level).golomb(0, color).fixed(*[(0, 1)] * chroma)
    sps.golomb(across * BLOCK, down * BLOCK).fixed((1, 1))
    sps.golomb(0, margin[1][1], 0, margin[0][1], bits - 8, bits - 8, 4).fixed((1, 1)).golomb(0, 0, 0)
    sps.golomb(2, 0, 0, 3, 0, 0).fixed((0, 1), (0, 1), (0, 1), (1, 1))  # blocks of 32, transforms of 4 to 32, samples as such
    sps.fixed((bits - 1, 4), (bits - 1, 4)).golomb(2, 0).fixed((1, 1)).golomb(0).fixed(*[(0, 1)] * 5)
    pps = _Bits().golomb(0, 0).fixed((0, 2), (0, 3), (0, 2)).golomb(0, 0, 0).fixed((0, 3)).golomb(0, 0)
    pps.fixed(*[(0, 1)] * 6, (0, 1), (1, 1), (0, 1), (1, 1), (0, 2)).golomb(0).fixed((0, 2))
    setup = tuple(_nal(kind, bits.aligned()) for kind, bits in ((VPS, vps), (SPS, sps), (PPS, pps)))
    assert len(setup) == 3
    return Coded((width, height), setup, b"".join(pack(">I", len(each)) + each for each in slices), bits, color)


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
    coded = [*images, *([beside] if beside else [])]
    entries, boxes, links, payloads, references = [], list[bytes](), list[bytes](), list[bytes](), b""
    for number, image in enumerate(coded, 1):
        hidden = 1 if grid and number <= len(images) else 0
        entries.append(_full(b"infe", 2, hidden, pack(">HH4sx", number, 0, b"hvc1")))
        boxes += [_hvcc(image), _full(b"ispe", 0, 0, pack(">II", *image.size))]
        places = [0x80 | len(boxes) - 1, len(boxes)]
        payloads.append(image.unit)
        if image is beside:
            boxes.append(_full(b"auxC", 0, 0, meaning + b"\0"))
            places.append(0x80 | len(boxes))
        links.append(pack(">HB", number, len(places)) + bytes(places))
    if grid:
        primary = len(coded) + 1
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


def _slice(place: int, place_bits: int, blocks: Sequence[Pixels], bits: int) -> bytes:
    """A slice of one block. Its arithmetic code is always the same: one partition, then samples without compression."""
    head = _Bits().fixed((place == 0, 1), (0, 1)).golomb(0)
    if place:
        head.fixed((place, place_bits))
    head.golomb(2, 0)  # an intra slice; its quality
    samples = _Bits().fixed(*((int(sample), bits) for block in blocks for sample in block.ravel()))
    opening, closing = _terminated(510 - 240), _terminated(510)
    code = _Bits()
    code.text = opening
    return _nal(IDR, head.aligned() + code.aligned("") + samples.aligned("") + _closed(closing))


def _terminated(span: int) -> str:
    """The bits of an arithmetic code of this range that ends with a terminating 1 (section 9.3.4.6)."""
    low, text, outstanding, is_first = span - 2, "", 0, True

    def put(bit: int) -> None:
        nonlocal text, outstanding, is_first
        text += "" if is_first else str(bit)
        text += str(1 - bit) * outstanding
        is_first, outstanding = False, 0

    for _ in range(7):
        if low < 256:
            put(0)
        elif low >= 512:
            low -= 512
            put(1)
        else:
            low -= 256
            outstanding += 1
        low <<= 1
    put(low >> 9 & 1)
    return text + f"{(low >> 7 & 3) | 1:02b}"


def _closed(text: str) -> bytes:
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _nal(kind: int, payload: bytes) -> bytes:
    """A NAL unit: no three bytes of it look like the mark between units (section 7.3.1.1)."""
    result, zeros = bytearray([kind << 1, 1]), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            result.append(3)
            zeros = 0
        result.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(result)


def _hvcc(image: Coded) -> bytes:
    """The decoder's configuration (ISO/IEC 14496-15, section 8.3.3.1)."""
    depth = 0xF8 | image.bits - 8
    head = bytes([1, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 186, 0xF0, 0, 0xFC, 0xFC | image.color, depth, depth, 0, 0, 0x0F])
    head += bytes([len(image.setup)])
    units = (pack(">BHH", 0x80 | unit[0] >> 1, 1, len(unit)) + unit for unit in image.setup)
    return _box(b"hvcC", head + b"".join(units))


def _box(kind: bytes, payload: bytes) -> bytes:
    return pack(">I", 8 + len(payload)) + kind + payload


def _full(kind: bytes, version: int, flags: int, payload: bytes) -> bytes:
    return _box(kind, bytes([version]) + flags.to_bytes(3, "big") + payload)
