"""JPEGs that libjpeg does not write: any sampling factors and markers, each component in a scan of its own (ITU-T T.81)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from benchmarks.harness.image_files import file_of
from tests.support.images import Pixels

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
    factors: Sequence[tuple[int, int]] | None = None,
    *,
    scans: Iterable[int] = range(4),
    share: float = 1,
    height: int | None = None,
    before: bytes = b"",
) -> bytes:
    """A JPEG of these planes (height, width), by components: each one's scan is that of a grey JPEG of its samples.

    factors: of sampling, (across, down). scans: the component of each. share: of the last scan's bytes that are there. height:
    that its frame tells. before: segments at its start.
    """
    factors = factors or [(1, 1)] * len(planes)
    rows, columns = planes[0].shape
    most = max(a for a, _ in factors), max(d for _, d in factors)
    sizes = [(-(-columns * a // most[0]), -(-rows * d // most[1])) for a, d in factors]
    greys = [
        file_of(Image.fromarray(plane).resize(size, Image.Resampling.BOX), "JPEG", quality=95)
        for plane, size in zip(planes, sizes, strict=True)
    ]
    tables, frame, scan = (greys[0].index(marker) for marker in (b"\xff\xdb", b"\xff\xc0", b"\xff\xda"))
    entries = b"".join(bytes([index, a << 4 | d, 0]) for index, (a, d) in enumerate(factors, 1))
    head = struct.pack(">BHHB", 8, rows if height is None else height, columns, len(planes)) + entries
    parts = [b"\xff\xd8", before, greys[0][tables:frame], segment(0xC0, head), greys[0][greys[0].index(b"\xff\xc4") : scan]]
    for index in [index for index in scans if index < len(planes)]:
        scan = greys[index][greys[index].index(b"\xff\xda") + 10 : -2]
        parts += [segment(0xDA, bytes([1, index + 1, 0, 0, 63, 0])), scan]
    parts[-1] = parts[-1][: round(len(parts[-1]) * share)]
    return b"".join([*parts, END])
