"""Reads a JPEG's headers, and checks that its coded data is complete (ITU-T T.81)."""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imaging.errors import DamagedImage

HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)  # frame markers (table B.1), as in the next lines
PROGRESSIVE = (0xC2, 0xCA)
LOSSLESS = (0xC3, 0xCB)
SEQUENTIAL = (0xC0, 0xC1)  # with Huffman codes
JPEG_LS = 0xF7
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), JPEG_LS)
BARE = (0x01, *range(0xD0, 0xD9))  # markers without a length
SCAN, RESTART_INTERVAL, APP14, END = 0xDA, 0xDD, 0xEE, 0xD9
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
MIDDLE, NEAR = 127.5, 3  # the grey that libjpeg gives units without coded data, inverted or not
# Coded data without markers, to append to a scan. Whatever the Huffman tables are, at least one of the two decodes to
# something other than empty units.
TAILS = (bytes(range(254, 0, -1)), bytes(range(1, 255)))
COEFFICIENTS = 64
# libjpeg's own progressive script has 10 scans, mozjpeg writes about a dozen, and libtiff also stops at 100
SCANS = 100
SCANNED_MEGAPIXELS = 2000.0  # limit of scans x megapixels; an empty scan takes about 0.8 ms per megapixel
MOST_MARKERS = 4096  # before the first scan, and again after its header; each costs time, and 100 scans have a few hundred


@dataclass(frozen=True)
class JPEGHeader:
    """A JPEG's first frame and scan headers.

    process: the frame's marker. precision: bits per sample. width, height: in pixels. components: (identifier, horizontal
    sampling factor, vertical sampling factor) of each component. restart_interval: in units of blocks, 0 if there is none.
    first_scan: identifiers of the components in the first scan. scan_header: byte offset of the first scan's marker.
    scan_start: byte offset of its coded data. adobe: whether the file has Adobe's segment, which says how colours are coded.
    """

    process: int
    precision: int
    width: int
    height: int
    components: tuple[tuple[int, int, int], ...]
    restart_interval: int
    first_scan: bytes
    scan_header: int
    scan_start: int
    adobe: bool

    @property
    def interleaved(self) -> bool:
        """Whether the first scan holds all components."""
        return len(self.first_scan) == len(self.components)

    @property
    def several_scans(self) -> bool:
        """Whether the image has several scans; libjpeg then keeps all coefficients until the last one."""
        return bool(self.components) and (self.process in (*PROGRESSIVE, *HIERARCHICAL) or not self.interleaved)

    @property
    def unit(self) -> tuple[int, int]:
        """Width and height in pixels of a unit of blocks, in a scan of all components (section A.2)."""
        if len(self.components) == 1:
            return 8, 8
        return 8 * max(across for _, across, _ in self.components), 8 * max(down for _, _, down in self.components)


def read_jpeg_header(data: bytes) -> JPEGHeader | None:
    """Reads the segments up to the first scan; None if they cannot be parsed."""
    position, interval, frame, process, adobe = 2, 0, b"", 0, False
    for _ in range(MOST_MARKERS):
        if position + 4 > len(data) or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF or marker in BARE:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
        segment = data[position + 4 : end]
        if marker in FRAMES:
            frame, process = segment, marker
        elif marker == RESTART_INTERVAL:
            interval = int.from_bytes(segment[:2], "big")
        elif marker == APP14:
            adobe = adobe or segment.startswith(b"Adobe")
        elif marker == SCAN and len(frame) >= 6 and segment:
            height, width = struct.unpack_from(">HH", frame, 1)
            entries = (frame[start : start + 2] for start in range(6, 6 + 3 * frame[5], 3))
            components = tuple((entry[0], entry[1] >> 4 or 1, entry[1] & 15 or 1) for entry in entries if len(entry) == 2)
            return JPEGHeader(
                process=process,
                precision=frame[0],
                width=width,
                height=height,
                components=components,
                restart_interval=interval,
                first_scan=segment[1 : 1 + 2 * segment[0] : 2],
                scan_header=position,
                scan_start=end,
                adobe=adobe,
            )
        position = end
    return None


def jpeg_problem(header: JPEGHeader | None) -> str | None:
    """A message that says which sample type or coding of the JPEG is not read, and how to convert it; None if all is read."""
    if header is None:
        return None
    if header.process == JPEG_LS:
        return "the image is a JPEG-LS, which is not read; save it as a baseline JPEG"
    if header.process in HIERARCHICAL:
        return f"the JPEG is hierarchical (frame {header.process:#x}), which is not read; save it as a baseline JPEG"
    if header.precision != 8:
        return f"the JPEG has samples of {header.precision} bits, which are not read; save it with 8 bits"
    if header.height == 0:
        return "the JPEG gives its height after its pixels, which is not read; save it as a baseline JPEG"
    if len(header.components) not in (1, 3, 4):
        return f"the JPEG has {len(header.components)} components, which are not read; save it as grey or RGB"
    if len(header.components) == 4 and not header.adobe:
        return "the JPEG has 4 components and does not say whether 0 is all ink or none; save it as RGB"
    across, down = (max(factors) for factors in list(zip(*header.components, strict=True))[1:])
    if any(across % horizontal or down % vertical for _, horizontal, vertical in header.components):
        factors = ", ".join(f"{horizontal}x{vertical}" for _, horizontal, vertical in header.components)
        return f"the JPEG has sampling factors {factors}, which are not read; save it with 4:4:4 or 4:2:0"
    return None


def is_lossless(data: bytes) -> bool:
    """Whether a JPEG uses the lossless process; libjpeg cannot decode such a file at a reduced size."""
    return (header := read_jpeg_header(data)) is not None and header.process in LOSSLESS


def check_scan_count(data: bytes) -> None:
    """Raises `DamagedImage` if there are more scans than any program writes.

    However short a scan is, it costs as much time as the whole image.
    """
    header = read_jpeg_header(data)
    if not header or not header.several_scans:
        return
    most = max(1, min(SCANS, int(SCANNED_MEGAPIXELS * 1e6 / max(1, header.width * header.height))))
    # An upper bound: coded data cannot contain these bytes, but segments and trailers may.
    scans = data.count(b"\xff\xda")
    if scans > most and (scans := _count_scans(data, most)) > most:
        problem = f"it has {scans} scans or more at {header.width}x{header.height} pixels; at most {most} are accepted"
        raise DamagedImage(f"the image is damaged: {problem}; save it again")


def coefficient_bytes(data: bytes) -> int:
    """Bytes that libjpeg needs for the coefficients of a JPEG in several scans, besides its pixels; 0 for a single scan.

    Each coefficient takes 2 bytes. Blocks are counted in whole units.
    """
    header = read_jpeg_header(data)
    if not header or not header.several_scans:
        return 0
    across, down = (max(factors) for factors in list(zip(*header.components, strict=True))[1:])
    units = -(-header.width // (8 * across)) * -(-header.height // (8 * down))
    blocks: int = units * sum(horizontal * vertical for _, horizontal, vertical in header.components)
    return 128 * blocks


def _count_scans(data: bytes, most: int) -> int:
    """Counts the scans of the first picture; stops once there are more than `most`. FF DA inside a segment does not count."""
    scans, position = 0, 2
    while scans <= most and (marker := MARKER.search(data, position)):
        position, kind = marker.end(), data[marker.end() - 1]
        if kind == END:
            break
        scans += kind == SCAN
        if kind >= 0xC0 and kind not in BARE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return scans


def check_restarts(header: JPEGHeader, data: bytes) -> None:
    """Raises `DamagedImage` if a sequential JPEG in one scan lacks restart markers, and so the units between them."""
    if not header.restart_interval or header.process in PROGRESSIVE or not header.interleaved:
        return
    across, down = header.unit
    units = -(-header.width // across) * -(-header.height // down)
    total = -(-units // header.restart_interval) - 1
    end = data.find(b"\xff\xd9", header.scan_start)
    count = sum(1 for _ in RESTART.finditer(data, header.scan_start, end if end >= 0 else len(data)))
    if count < total:
        raise DamagedImage(f"the image is damaged: {count} of {total} restart markers are there; is the file complete?")


def check_scans(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` if a decoded JPEG's scans lack some of its coefficients, or end before the last unit.

    libjpeg only warns. It replaces missing coefficients by 0, and so missing units by middle grey.
    """
    header = read_jpeg_header(data)
    if not header:
        return
    single = header.process not in PROGRESSIVE and header.interleaved
    if single and not (header.process in SEQUENTIAL and _is_middle_grey(image)):
        return
    missing, end = _walk_scans(header, data)
    if missing:
        raise DamagedImage(
            f"the image is damaged: its scans lack coefficients of {missing} of its {len(header.components)} components; "
            "is the file complete?"
        )
    if header.process in SEQUENTIAL:
        scan_data = data[:end].rstrip(b"\xff")  # fill bytes may precede a marker
        pixels = _eighth(scan_data)
        if any(_eighth(scan_data + tail) != pixels for tail in TAILS):  # after a complete scan, more bytes change no pixel
            raise DamagedImage("the image is damaged: its coded data ends before its last rows; is the file complete?")


def _walk_scans(header: JPEGHeader, data: bytes) -> tuple[int, int]:
    """The number of components that lack a coefficient, or bits of one, in the scans; and the offset where the last scan ends.

    Raises `DamagedImage` for more markers than any image needs.
    """
    # for each component and coefficient, the lowest bit that the scans so far have sent; 0 means complete
    lowest = {identifier: [1] * COEFFICIENTS for identifier, _, _ in header.components}
    position, end, markers = header.scan_header, len(data), 0
    while match := MARKER.search(data, position):
        position, marker = match.end(), data[match.end() - 1]
        markers += 1
        if markers > MOST_MARKERS:
            raise DamagedImage(
                "the image is damaged: more segments stand between its scans than any program writes; save it again"
            )
        if marker == END:
            end = match.start()
            break
        if marker in BARE:
            continue
        after = position + max(2, int.from_bytes(data[position : position + 2], "big"))
        segment = data[position + 2 : after]
        if marker == SCAN and segment and len(segment) >= 4 + 2 * segment[0]:
            first, last, bits = segment[1 + 2 * segment[0] :][:3]
            if header.process not in PROGRESSIVE:
                first, last, bits = 0, COEFFICIENTS - 1, 0
            for identifier in segment[1 : 1 + 2 * segment[0] : 2]:
                if identifier in lowest and first <= last < COEFFICIENTS:
                    lowest[identifier][first : last + 1] = [bits & 15] * (last + 1 - first)
        position = after
    return sum(any(bits) for bits in lowest.values()), end


def _is_middle_grey(image: Image.Image) -> bool:
    """Whether a decoded image's last pixel may belong to a unit without coded data.

    All pixels of such a unit are alike, so one is enough. In colour images only the luminance is compared, since colour
    differences are interpolated from neighbouring units.
    """
    pixel = np.asarray(image.crop((image.width - 1, image.height - 1, image.width, image.height))).reshape(-1).astype(float)
    value = pixel @ (0.299, 0.587, 0.114) if len(pixel) == 3 else pixel[-1]
    return bool(abs(value - MIDDLE) <= NEAR)


def _eighth(start: bytes) -> bytes:
    """Decodes this start of a JPEG, closed by an end marker, at an eighth of its size: each pixel is the mean of a block."""
    with Image.open(io.BytesIO(start + b"\xff\xd9"), formats=("JPEG",)) as image:
        image.draft(None, (1, 1))
        return image.tobytes()
