"""What a JPEG's headers declare, and whether its coded data reaches its last row (ITU-T T.81)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from PIL import Image

from imaging.errors import DamagedImage

HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)  # of frames (table B.1)
PROGRESSIVE = (0xC2, 0xCA)
HUFFMAN = (0xC0, 0xC1, 0xC2)
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
BARE = (0x01, *range(0xD0, 0xD9))  # markers without a length
TABLES, SCAN, RESTART_INTERVAL = 0xC4, 0xDA, 0xDD
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
GREYS = (127, 128)  # what libjpeg decodes without coded data, inverted or not
LEAST_UNITS = 8  # of that grey: fewer may be a photograph's own, with codes that make no difference to its pixels
MOST_UNITS = 16  # at the end of a scan that are compared with its last bits


@dataclass(frozen=True)
class JPEGHeader:
    """A JPEG's first frame and scan headers.

    process: the frame's marker. factors: sampling factors (across, down) by component. restart_interval: in units of blocks, 0
    without. scan: the tables' numbers (DC, AC) of each component in the first scan, whose coded data begins at scan_start.
    tables: the segments before it that define Huffman tables.
    """

    process: int
    precision: int
    width: int
    height: int
    factors: tuple[tuple[int, int], ...]
    restart_interval: int
    scan: tuple[tuple[int, int], ...]
    scan_start: int
    tables: tuple[bytes, ...]

    @property
    def codes(self) -> dict[tuple[int, int, int], str]:
        """Huffman codes, as text of bits, by (class, table, symbol)."""
        return {key: code for segment in self.tables for key, code in _huffman_codes(segment).items()}

    @property
    def interleaved(self) -> bool:
        """Whether the first scan holds all components."""
        return len(self.scan) == len(self.factors)

    @property
    def unit(self) -> tuple[int, int]:
        """Pixels (across, down) of a unit of blocks in a scan of all components (section A.2)."""
        if len(self.factors) == 1:
            return 8, 8
        return 8 * max(across for across, _ in self.factors), 8 * max(down for _, down in self.factors)


def read_jpeg_header(data: bytes) -> JPEGHeader | None:
    """Reads the segments up to the first scan; None where they cannot be followed."""
    position, interval, frame, process = 2, 0, b"", 0
    tables: list[bytes] = []
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in BARE:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
        segment = data[position + 4 : end]
        if marker in FRAMES:
            frame, process = segment, marker
        elif marker == TABLES:
            tables.append(segment)
        elif marker == RESTART_INTERVAL:
            interval = int.from_bytes(segment[:2], "big")
        elif marker == SCAN and len(frame) >= 6 and segment:
            height, width = struct.unpack_from(">HH", frame, 1)
            factors = tuple((each >> 4 or 1, each & 15 or 1) for each in frame[7 : 6 + 3 * frame[5] : 3])
            scan = tuple((each >> 4, each & 15) for each in segment[2 : 1 + 2 * segment[0] : 2])
            return JPEGHeader(process, frame[0], width, height, factors, interval, scan, end, tuple(tables))
        position = end
    return None


def jpeg_problem(header: JPEGHeader | None) -> str | None:
    """What of a JPEG's samples or coding is not read, and how to convert it."""
    if header is None:
        return None
    if header.process in HIERARCHICAL:
        return f"the JPEG is hierarchical (frame {header.process:#x}), which is not read; save it as a baseline JPEG"
    if header.precision != 8:
        return f"the JPEG has samples of {header.precision} bits, which are not read; save it with 8 bits"
    if len(header.factors) not in (1, 3, 4):
        return f"the JPEG has {len(header.factors)} components, which are not read; save it as grey or RGB"
    return None


def check_restarts(header: JPEGHeader, data: bytes) -> None:
    """Raises `DamagedImage` where a sequential JPEG in one scan lacks restart markers, and so the units between them."""
    if not header.restart_interval or header.process in PROGRESSIVE or not header.interleaved:
        return
    across, down = header.unit
    units = -(-header.width // across) * -(-header.height // down)
    expected = -(-units // header.restart_interval) - 1
    end = data.find(b"\xff\xd9", header.scan_start)
    count = sum(1 for _ in RESTART.finditer(data, header.scan_start, end if end >= 0 else len(data)))
    if count < expected:
        raise DamagedImage(f"the image is damaged: {count} of {expected} restart markers are there; is the file complete?")


def check_end_of_scan(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` where a decoded JPEG ends in the grey of missing data, and its first scan does not say so.

    libjpeg gives units without coded data the middle grey, and only warns. Where the image's last units are of that grey, the
    scan must end with the codes of as many empty units. It is then exact but for files with restart markers, of which
    `check_restarts` counts the markers.
    """
    header = read_jpeg_header(data)
    if not header or header.process not in HUFFMAN or not header.interleaved or header.restart_interval:
        return
    units, row = _grey_units(image, header)
    if units < min(LEAST_UNITS, row) or units < 2:
        return
    empty = _empty_unit(header)
    end = MARKER.search(data, header.scan_start)
    if not empty or not end:
        return
    count = min(units - 1, MOST_UNITS)  # the first of them may differ from the unit before it
    coded = data[max(header.scan_start, end.start() - len(empty) * count // 4 - 16) : end.start()].replace(b"\xff\0", b"\xff")
    bits = "".join(f"{byte:08b}" for byte in coded)
    if not any(bits.endswith(empty * count + fill * length) for length in range(8) for fill in "10"):
        raise DamagedImage("the image is damaged: its coded data ends before its last rows; is the file complete?")


def _grey_units(image: Image.Image, header: JPEGHeader) -> tuple[int, int]:
    """How many of the last row's units, from the right, are of the grey that libjpeg gives to missing data; and of how many."""
    reduced = -(-header.width // image.width)
    across, down = (max(1, side // reduced) for side in header.unit)
    band = np.asarray(image.crop((0, (image.height - 1) // down * down, image.width, image.height)))
    pixels = band.reshape(*band.shape[:2], -1)
    grey = (np.isin(pixels, GREYS) & (pixels == pixels[-1, -1])).all((0, 2))
    units = [bool(grey[left : left + across].all()) for left in range(0, len(grey), across)]
    is_grey, run = next(groupby(reversed(units)))
    return len(list(run)) if is_grey else 0, len(units)


def _empty_unit(header: JPEGHeader) -> str:
    """The bits of a unit of the first scan whose blocks equal those before them and hold nothing else; empty if unknown."""
    bits, codes = "", header.codes
    for (direct, alternating), (across, down) in zip(header.scan, header.factors, strict=True):
        block = codes.get((0, direct, 0), "")
        if header.process not in PROGRESSIVE:
            block += codes.get((1, alternating, 0), "")
        if not block:
            return ""
        bits += block * (1 if len(header.factors) == 1 else across * down)
    return bits


def _huffman_codes(segment: bytes) -> dict[tuple[int, int, int], str]:
    """The codes by (class, table, symbol) of a segment that defines Huffman tables (section B.2.4.2 and annex C)."""
    codes: dict[tuple[int, int, int], str] = {}
    position = 0
    while position + 17 <= len(segment):
        kind, table = segment[position] >> 4, segment[position] & 15
        counts, position = segment[position + 1 : position + 17], position + 17
        code = 0
        for length, count in enumerate(counts, 1):
            for symbol in segment[position : position + count]:
                codes[kind, table, symbol] = f"{code:0{length}b}"
                code += 1
            position += count
            code <<= 1
    return codes
