"""Reads a JPEG's headers, and checks that its coded data is complete (ITU-T T.81)."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imaging.errors import DamagedImage, UnknownImageType

UNREAD = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xF7)  # frame markers (table B.1), as below: hierarchical, JPEG-LS
PROGRESSIVE = (0xC2, 0xCA)
LOSSLESS = (0xC3, 0xCB)
ARITHMETIC = (0xC9, 0xCA, 0xCB)
SEQUENTIAL = (0xC0, 0xC1)  # with Huffman codes
FRAMES = (*SEQUENTIAL, *PROGRESSIVE, *LOSSLESS, 0xC9, *UNREAD)  # 0xC9: sequential, with arithmetic codes
BARE = (0x01, *range(0xD0, 0xDA))  # markers without a length
SCAN, RESTART_INTERVAL, APP14, END = 0xDA, 0xDD, 0xEE, 0xD9
END_MARKER = b"\xff\xd9"
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
MIDDLE, NEAR = 127.5, 3  # the grey that libjpeg gives units without coded data, inverted or not
# Coded data without markers, to append to a scan. Whatever the Huffman tables are, at least one of the two decodes to
# something other than empty units.
TAILS = (bytes(range(254, 0, -1)), bytes(range(1, 255)))
BAND_PIXELS = 1 << 20  # that are copied at once
COEFFICIENTS = 64
# libjpeg's own progressive script has 10 scans, mozjpeg writes about a dozen, and libtiff also stops at 100
MOST_SCANS = 100
MOST_SEGMENTS = 10_000  # before, between and behind the scans; each takes time, however short it is
REPAIR = "is the file complete? If it is, repair it with jpegtran -copy all; what is missing becomes grey"
# in bytes
DOUBTFUL = 512  # of data without 0xFF behind the coded data; fewer are no reason to look closer
SAMPLE = 4096  # of the coded data, and of what follows them, from which the odds of each byte are counted
WINDOW = 1 << 18  # in which the border between them is sought
DOUBT = 15.0  # logarithm of the odds; how far from the most likely end of the coded data the last possible one is
SCANNED_PIXELS = 2_000_000_000  # limit of scans x pixels; an empty scan takes about 0.8 ms per megapixel


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
        return self.process in PROGRESSIVE or not self.interleaved

    @property
    def factors(self) -> tuple[int, int]:
        """The largest horizontal and vertical sampling factors."""
        return max(across for _, across, _ in self.components), max(down for _, _, down in self.components)


def read_jpeg_header(data: bytes) -> JPEGHeader | None:
    """Reads the segments up to the first scan; None if there is no scan behind a frame."""
    interval, frame, process, adobe = 0, b"", 0, False
    for marker, start, end in _segments(data):
        segment = data[start + 4 : end]
        if marker in FRAMES:
            frame, process = segment, marker
        elif marker == RESTART_INTERVAL:
            interval = int.from_bytes(segment[:2], "big")
        elif marker == APP14:
            adobe = adobe or segment.startswith(b"Adobe")
        elif marker == SCAN and len(frame) >= 6 and segment:
            height, width = struct.unpack_from(">HH", frame, 1)
            entries = (frame[start : start + 2] for start in range(6, 6 + 3 * frame[5], 3))
            return JPEGHeader(
                process=process,
                precision=frame[0],
                width=width,
                height=height,
                components=tuple((entry[0], entry[1] >> 4 or 1, entry[1] & 15 or 1) for entry in entries if len(entry) == 2),
                restart_interval=interval,
                first_scan=segment[1 : 1 + 2 * segment[0] : 2],
                scan_header=start,
                scan_start=end,
                adobe=adobe,
            )
    return None


def _segments(data: bytes, position: int = 2) -> Iterator[tuple[int, int, int]]:
    """Yields the kind, start and end of each marker with its segment, from a position up to the end marker.

    Raises `DamagedImage` for more segments than any program writes.
    """
    marker = count = 0
    while marker != END and (match := MARKER.search(data, position)):
        count += 1
        if count > MOST_SEGMENTS:
            advice = "save it again, or keep its pixels alone with jpegtran -copy none"
            raise DamagedImage(f"the image is damaged: it has more than {MOST_SEGMENTS} segments; {advice}")
        marker, position = data[match.end() - 1], match.end()
        if marker not in BARE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
        yield marker, match.start(), position


def close_scans(header: JPEGHeader, data: bytes) -> bytes:
    """The file up to the end of its last scan, closed by an end marker; all of it if an end marker already stands there.

    Some cameras write none, and then data of their own, in which libjpeg would go on reading. Arithmetic codes do not tell
    where they end, so that such a file stays as it is.
    """
    gaps, end = _walk_scans(header, data)
    is_closed = gaps or header.process in ARITHMETIC or data.startswith(END_MARKER, end)
    if is_closed:
        return data
    file = io.BytesIO(data)  # which copies the bytes once
    file.truncate(end)
    file.seek(end)
    file.write(END_MARKER)
    return file.getvalue()


def check_closed(header: JPEGHeader, data: bytes) -> None:
    """Raises `DamagedImage` if a file that `close_scans` has closed ends early. Decodes it two to six times."""
    end = len(data) - len(END_MARKER)
    if _ends_early(data[:end], is_reduced=False) or _is_continued(header, data, end):
        raise DamagedImage(f"the image is damaged: the file ends early; {REPAIR}")


def check_jpeg(header: JPEGHeader, data: bytes) -> None:
    """Raises `UnknownImageType` for samples or a coding that are not read.

    Raises `DamagedImage` for missing restart markers, and for more scans than any program writes: however short a scan is, it
    takes as much time as the whole image.
    """
    if problem := _problem(header):
        raise UnknownImageType(problem)
    _check_restarts(header, data)
    most = max(1, min(MOST_SCANS, SCANNED_PIXELS // max(1, header.width * header.height)))
    # first an upper bound: coded data cannot contain these bytes, but segments and trailers may
    if header.several_scans and data.count(b"\xff\xda") > most:
        scans = sum(kind == SCAN for kind, _, _ in _segments(data))
        if scans > most:
            problem = f"it has {scans} scans at {header.width}x{header.height} pixels; at most {most} are accepted"
            raise DamagedImage(f"the image is damaged: {problem}; save it again")


def _problem(header: JPEGHeader) -> str | None:
    """A message that says which sample type or coding is not read, and how to convert the JPEG; None if all is read."""
    samples = len(header.components)
    if header.process in UNREAD or header.precision != 8 or not header.height or samples not in (1, 3, 4):
        what = f"frame {header.process:#x}, {samples} components of {header.precision} bits, {header.height} rows"
        return f"the JPEG is of a kind that is not read ({what}); save it as a baseline JPEG of 8 bits, grey or RGB"
    if samples == 4 and not header.adobe:
        return "the JPEG has 4 components and does not say whether 0 is all ink or none; save it as RGB"
    across, down = header.factors
    if any(across % horizontal or down % vertical for _, horizontal, vertical in header.components):
        factors = ", ".join(f"{horizontal}x{vertical}" for _, horizontal, vertical in header.components)
        return f"the JPEG has sampling factors {factors}, which are not read; save it with 4:4:4 or 4:2:0"
    return None


def _check_restarts(header: JPEGHeader, data: bytes) -> None:
    """Raises `DamagedImage` if a sequential JPEG in one scan lacks restart markers, and so the units between them."""
    if not header.restart_interval or header.process in PROGRESSIVE or not header.interleaved:
        return
    across, down = (8, 8) if len(header.components) == 1 else (8 * factor for factor in header.factors)
    units = -(-header.width // across) * -(-header.height // down)  # of blocks (section A.2)
    total = -(-units // header.restart_interval) - 1
    end = data.find(END_MARKER, header.scan_start)
    count = sum(1 for _ in RESTART.finditer(data, header.scan_start, end if end >= 0 else len(data)))
    if count < total:
        raise DamagedImage(f"the image is damaged: {count} of {total} restart markers are there; {REPAIR}")


def check_scans(header: JPEGHeader, image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` if a decoded JPEG's scans lack some of its coefficients, or end before the last unit.

    libjpeg only warns. It replaces missing coefficients by 0, and so missing units by middle grey.
    """
    if header.process in LOSSLESS:
        return
    gaps, end = _walk_scans(header, data)
    if gaps:
        raise DamagedImage(
            f"the image is damaged: its scans lack coefficients of {gaps} of its {len(header.components)} components; {REPAIR}"
        )
    may_lack_units = header.process in SEQUENTIAL and (not header.interleaved or _is_middle_grey(image))
    is_doubtful = header.process not in ARITHMETIC and data[end - DOUBTFUL : end].isascii()  # such as text or zeros
    if (may_lack_units and _ends_early(data[:end], is_reduced=True)) or (is_doubtful and _is_continued(header, data, end)):
        raise DamagedImage(f"the image is damaged: its coded data ends before its last rows; {REPAIR}")


def _is_continued(header: JPEGHeader, data: bytes, end: int) -> bool:
    """Whether the coded data end early, and other data without markers were decoded in their place.

    Then the image is whole without the last `DOUBTFUL` bytes before the marker at `end`, but not with its coded data alone.
    """
    latest = _latest_end(header, data, end)
    is_reduced = header.process not in PROGRESSIVE  # whose last scan changes single pixels alone
    is_surplus = latest < end - DOUBTFUL and not _ends_early(data[: end - DOUBTFUL], is_reduced=is_reduced)
    return is_surplus and _ends_early(data[:latest], is_reduced=is_reduced)


def _latest_end(header: JPEGHeader, data: bytes, end: int) -> int:
    """The last possible end of the coded data, if other data may stand between them and the marker at `end`.

    Coded data have bytes 0xFF, other data that look like them have none; and each has bytes of its own: the most likely border
    is where the odds of one and of the other change.
    """
    start = header.scan_start
    begin = max(start, data.rfind(b"\xff", start, end) + 1)
    if end - begin <= 2 * DOUBTFUL:
        return end
    values, coded_end = np.frombuffer(data, np.uint8), max(begin, min(start + DOUBTFUL, (start + end) // 2))
    code = np.bincount(values[max(start, coded_end - SAMPLE) : coded_end], minlength=256) + 0.5
    other = np.bincount(values[max(begin, end - SAMPLE) : end], minlength=256) + 0.5
    odds = np.log(other / other.sum()) - np.log(code / code.sum())
    sums = odds[values[begin : min(end, begin + WINDOW)]][::-1].cumsum()[::-1]
    return begin + int(np.flatnonzero(sums >= sums.max() - DOUBT)[-1])


def _walk_scans(header: JPEGHeader, data: bytes) -> tuple[int, int]:
    """The number of components that lack a coefficient, or bits of one, in the scans; and the offset where the last ends.

    What follows the scan that completes all coefficients, other than scans, is no part of the image.
    """
    # for each component and coefficient, the lowest bit that the scans so far have sent; 0 means complete
    lowest = {identifier: [1] * COEFFICIENTS for identifier, _, _ in header.components}
    gaps = len(lowest)
    for marker, start, after in _segments(data, header.scan_header):
        segment = data[start + 4 : after]
        identifiers = segment[1 : 1 + 2 * segment[0] : 2] if marker == SCAN and segment else b""
        is_scan = lowest.keys() >= {*identifiers} and len(segment) >= 4 + 2 * len(identifiers) > 4
        if marker == END or not (gaps or is_scan):
            return gaps, start
        if is_scan:
            first, last, bits = segment[1 + 2 * len(identifiers) :][:3]
            if header.process not in PROGRESSIVE:
                first, last, bits = 0, COEFFICIENTS - 1, 0
            if first <= last < COEFFICIENTS:
                for identifier in identifiers:
                    lowest[identifier][first : last + 1] = [bits & 15] * (last + 1 - first)
            gaps = sum(any(bits) for bits in lowest.values())
    return gaps, len(data)


def _is_middle_grey(image: Image.Image) -> bool:
    """Whether a decoded image's last pixel may belong to a unit without coded data.

    All pixels of such a unit are alike, so one is enough. In colour images only the luminance is compared, since colour
    differences are interpolated from neighbouring units.
    """
    pixel = np.asarray(image.crop((image.width - 1, image.height - 1, image.width, image.height))).reshape(-1).astype(float)
    value = pixel @ (0.299, 0.587, 0.114) if len(pixel) == 3 else pixel[-1]
    return bool(abs(value - MIDDLE) <= NEAR)


def _ends_early(start: bytes, *, is_reduced: bool) -> bool:
    """Whether this start of a file ends before the last unit of its last scan.

    After a complete scan, more bytes change no pixel. is_reduced: whether means of blocks are compared, and not all pixels.
    """
    start = start.rstrip(b"\xff")  # fill bytes may precede a marker
    return len({_digest(start + tail + END_MARKER, is_reduced) for tail in TAILS}) > 1


def _digest(data: bytes, is_reduced: bool) -> int:
    """A checksum of a JPEG's pixels; is_reduced: at an eighth of its size, where each is the mean of a block."""
    digest = 0
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        if is_reduced:
            image.draft(None, (1, 1))
        rows = max(1, BAND_PIXELS // image.width)
        for top in range(0, image.height, rows):
            digest = zlib.crc32(image.crop((0, top, image.width, min(top + rows, image.height))).tobytes(), digest)
    return digest
