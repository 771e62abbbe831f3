"""JPEGs that libjpeg does not write: any sampling factors, scans, markers and restarts (ITU-T T.81, baseline)."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.harness.image_files import file_of
from tests.support.images import Pixels

Size = tuple[int, int]
"""Across, down."""
Factors = Sequence[Size]
Place = tuple[int, int, int]
Blocks = npt.NDArray[np.int64]
ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))
COSINES = np.array([[np.cos((2 * n + 1) * k * np.pi / 16) / (2 if k else np.sqrt(8)) for n in range(8)] for k in range(8)])
STEP = 2
END = b"\xff\xd9"


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def components(picture: Pixels, mode: str = "YCbCr") -> list[Pixels]:
    """The planes of an RGB picture in this mode."""
    return [np.asarray(plane) for plane in Image.fromarray(picture).convert(mode).split()]


def jpeg(
    planes: Sequence[Pixels],
    factors: Factors | None = None,
    *,
    scans: Sequence[Sequence[int]] = (),
    restart: int = 0,
    share: float = 1,
    height: int | None = None,
    before: bytes = b"",
    fill: bytes = b"",
) -> bytes:
    """A JPEG of these planes (height, width), by components.

    factors: of sampling, (across, down). scans: components of each. share: of the last scan's units that are coded. height:
    that its frame tells. before: segments at its start. fill: bytes before its end marker.
    """
    factors = factors or [(1, 1)] * len(planes)
    rows, columns = planes[0].shape
    most = max(a for a, _ in factors), max(d for _, d in factors)
    grid = -(-columns // (8 * most[0])), -(-rows // (8 * most[1]))
    blocks = [_blocks(plane, each, most, grid) for plane, each in zip(planes, factors, strict=True)]
    entries = b"".join(bytes([index, a << 4 | d, 0]) for index, (a, d) in enumerate(factors, 1))
    declared_rows = rows if height is None else height
    parts = [b"\xff\xd8", before, segment(0xDB, bytes([0] + [STEP] * 64))]
    parts += [segment(0xC0, struct.pack(">BHHB", 8, declared_rows, columns, len(planes)) + entries), _tables()]
    parts += [segment(0xDD, struct.pack(">H", restart))] if restart else []
    scans = scans or [range(len(planes))]
    for scan in scans:
        components = b"".join(bytes([index + 1, 0x11 if index in (1, 2) else 0]) for index in scan)
        parts.append(segment(0xDA, bytes([len(scan)]) + components + b"\0\x3f\0"))
        units = _units(scan, factors, most, grid, (columns, rows))
        units = units[: round(len(units) * share)] if scan is scans[-1] else units
        step = restart or len(units)
        for number, start in enumerate(range(0, len(units), step)):
            parts += [bytes([0xFF, 0xD0 + (number - 1) % 8])] if number else []
            parts.append(_code(units[start : start + step], blocks))
    return b"".join([*parts, fill, END])


def _blocks(plane: Pixels, factors: Size, most: Size, grid: Size) -> Blocks:
    """Coefficients (rows, columns, 8, 8) of a plane that is extended to the grid and sampled by these factors."""
    below, beside = 8 * grid[1] * most[1] - plane.shape[0], 8 * grid[0] * most[0] - plane.shape[1]
    padded_plane = np.pad(plane, ((0, below), (0, beside)), mode="edge").astype(np.float32)
    across, down = grid[0] * factors[0], grid[1] * factors[1]
    samples = np.asarray(Image.fromarray(padded_plane).resize((8 * across, 8 * down), Image.Resampling.BOX)) - 128
    blocks = samples.reshape(down, 8, across, 8).swapaxes(1, 2)
    return np.round(COSINES @ blocks @ COSINES.T / STEP).astype(np.int64)


def _units(scan: Sequence[int], factors: Factors, most: Size, grid: Size, size: Size) -> list[list[Place]]:
    """The blocks of each unit of a scan, as (component, row, column) (section A.2)."""
    if len(scan) == 1:
        index = scan[0]
        sides = (math.ceil(size[axis] * factors[index][axis] / most[axis]) for axis in (0, 1))
        across, down = (math.ceil(side / 8) for side in sides)
        return [[(index, row, column)] for row in range(down) for column in range(across)]
    return [
        [
            (index, y * factors[index][1] + row, x * factors[index][0] + column)
            for index in scan
            for row in range(factors[index][1])
            for column in range(factors[index][0])
        ]
        for y in range(grid[1])
        for x in range(grid[0])
    ]


def _code(units: Sequence[Sequence[Place]], blocks: Sequence[Blocks]) -> bytes:
    """The units' bits, filled to whole bytes, with stuffed zeros."""
    before, bits = [0] * len(blocks), []
    for index, row, column in (place for unit in units for place in unit):
        values = blocks[index][row, column].reshape(-1)[ZIGZAG].tolist()
        bits += _coefficients(values, values[0] - before[index], 1 if index in (1, 2) else 0)
        before[index] = values[0]
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\0")


def _coefficients(values: list[int], difference: int, table: int) -> Iterator[str]:
    codes = _codes()
    yield codes[0, table, abs(difference).bit_length()] + _amplitude(difference)
    last = max((index for index in range(1, 64) if values[index]), default=0)
    zeros = 0
    for value in values[1 : last + 1]:
        zeros += not value
        if value:
            yield codes[1, table, 0xF0] * (zeros // 16)
            yield codes[1, table, zeros % 16 << 4 | abs(value).bit_length()] + _amplitude(value)
            zeros = 0
    if last < 63:
        yield codes[1, table, 0]


def _amplitude(value: int) -> str:
    length = abs(value).bit_length()
    return f"{value if value > 0 else value + (1 << length) - 1:0{length}b}" if length else ""


@cache
def _tables() -> bytes:
    """The segments of Huffman tables that libjpeg writes: those of annex K."""
    data = file_of(Image.new("RGB", (8, 8)), "JPEG")
    start, end = data.index(b"\xff\xc4"), data.index(b"\xff\xda")
    return data[start:end]


@cache
def _codes() -> dict[tuple[int, int, int], str]:
    """Codes as text of bits by (class, table, symbol) (section B.2.4.2 and annex C)."""
    codes: dict[tuple[int, int, int], str] = {}
    rest = _tables()
    while rest:
        length = int.from_bytes(rest[2:4], "big") + 2
        body, rest = rest[4:length], rest[length:]
        while body:
            kind, table, counts, code, position = body[0] >> 4, body[0] & 15, body[1:17], 0, 17
            for size, count in enumerate(counts, 1):
                for symbol in body[position : position + count]:
                    codes[kind, table, symbol] = f"{code:0{size}b}"
                    code += 1
                position, code = position + count, code << 1
            body = body[position:]
    return codes
