"""Reads the directories of a TIFF, and chooses the page that is the image (TIFF 6.0, section 2 and part 1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from mmap import mmap

import numpy as np
import numpy.typing as npt

from imaging.errors import DamagedImage, UnknownImageType
from imaging.formats.tiff import (
    COMPRESSION,
    DNG_VERSION,
    LENGTH,
    NEW_SUBFILE,
    RAW_FILE,
    REDUCED_IMAGE,
    ROWS_PER_STRIP,
    STRIP_BYTE_COUNTS,
    STRIP_OFFSETS,
    SUB_DIRECTORIES,
    TILE_BYTE_COUNTS,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    piece_count,
)

TABLES = (STRIP_OFFSETS, TILE_OFFSETS, STRIP_BYTE_COUNTS, TILE_BYTE_COUNTS)
SINGLE = (WIDTH, LENGTH, COMPRESSION, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH)
WHOLE_NUMBERS = (1, 3, 4, 16)  # types of tags: BYTE, SHORT, LONG, LONG8
NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # formats of `struct` for types of tags: the above, and offsets
OLD_SUBFILE, OLD_REDUCED = 255, 2  # a tag of before `NEW_SUBFILE`, and its value for a smaller version
MASK = 4  # bit of `NEW_SUBFILE`: says where another page is transparent
CANON_RAW = b"II*\0\x10\0\0\0CR\x02"
MOST_PAGES = 64  # that are looked at
MOST_ENTRIES = 4096  # of a directory
LEAST_RATIO = 2  # of the sides of a page to those of a page that is taken for its thumbnail


@dataclass(frozen=True)
class Page:
    """A directory: the place of its first byte, its size in pixels, and what it says of its relation to other pages.

    parts: places of the directories in its tag `SUB_DIRECTORIES`. Numbers that lack are 0.
    """

    start: int
    width: int
    height: int
    is_reduced: bool
    is_mask: bool
    is_raw: bool
    parts: tuple[int, ...] = field(default=(), repr=False)

    def is_thumbnail_of(self, other: Page) -> bool:
        """Whether this page is much smaller than the other, and has its shape to a pixel on each side."""
        has_shape = abs(self.width * other.height - self.height * other.width) <= other.width + other.height
        return has_shape and 0 < LEAST_RATIO * self.width <= other.width and 0 < LEAST_RATIO * self.height <= other.height


def choose_page(data: bytes) -> int:
    """The index of the page to read: the first, or the largest if the first is declared a smaller version of another.

    Looks at no more than `MOST_PAGES` pages. Raises `UnknownImageType` for a camera's raw file, and if the first page looks
    like a thumbnail of another page and does not say so, or of a page that is not read. Raises `DamagedImage` for a directory
    of more than `MOST_ENTRIES`, and if a tag of `SINGLE` in the chosen page appears twice, has several values or is not a whole
    number: these tags give the layout of strips and tiles, and libtiff and Pillow might use different values of them.
    """
    file = _Directories(data)
    pages = file.pages()
    if not pages:
        return 0
    first, index = pages[0], 0
    if first.is_raw or data.startswith(CANON_RAW):
        raise UnknownImageType(RAW_FILE)
    if first.is_reduced:
        whole = [at for at, page in enumerate(pages) if not (page.is_reduced or page.is_mask)] or [0]
        index = max(whole, key=lambda at: pages[at].width * pages[at].height)
    page = pages[index]
    parts = [] if first.is_reduced else [part for start in first.parts if (part := file.page(start))]
    for other in (*pages, *parts):
        if not (other.is_reduced or other.is_mask) and page.is_thumbnail_of(other):
            sizes = f"{page.width}x{page.height} pixels, and another of its shape has {other.width}x{other.height}"
            raise UnknownImageType(f"the first page of the TIFF has {sizes}; save the page that you mean as a file of its own")
    file.check_single_tags(page.start)
    return index


def check_tables(data: bytes | mmap) -> None:
    """Raises `DamagedImage` if a table of the first page, of a smaller version of it or of a mask lacks strips or tiles.

    libtiff takes the missing ones for empty, as those of a sparse file, whose offset and number of bytes are both 0.
    """
    file = _Directories(data)
    for index, page in enumerate(file.pages()):
        if not index or page.is_reduced or page.is_mask:
            file.check_tables(page)


class _Directories:
    """The directories in a TIFF's bytes. Entries beyond the file's end are left out."""

    def __init__(self, data: bytes | mmap) -> None:
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        self.is_big = data[2:4] in (b"+\0", b"\0+")
        self.head, self.entry, self.offset = ("Q", "HHQ8s", "Q") if self.is_big else ("H", "HHI4s", "I")

    def pages(self) -> list[Page]:
        """The first `MOST_PAGES` pages, up to a directory that lies beyond the file or that was read before."""
        pages: list[Page] = []
        (start,) = self._numbers(self.offset, 8 if self.is_big else 4, 1) or (0,)
        while start and len(pages) < MOST_PAGES and start not in {page.start for page in pages}:
            if (page := self.page(start)) is None:
                break
            pages.append(page)
            end = start + struct.calcsize(f"={self.head}") + self._count(start) * struct.calcsize(f"={self.entry}")
            (start,) = self._numbers(self.offset, end, 1) or (0,)
        return pages

    def page(self, start: int) -> Page | None:
        """The page whose directory begins at this byte; None if the file has no complete entry there."""
        values = {tag: self._values(kind, count, content) for tag, kind, count, content in reversed(self._entries(start))}
        if not values:
            return None
        numbers = {tag: numbers[0] for tag, numbers in values.items() if numbers}
        subfile = numbers.get(NEW_SUBFILE, 0)
        return Page(
            start=start,
            width=numbers.get(WIDTH, 0),
            height=numbers.get(LENGTH, 0),
            is_reduced=bool(subfile & REDUCED_IMAGE) or numbers.get(OLD_SUBFILE) == OLD_REDUCED,
            is_mask=bool(subfile & MASK),
            is_raw=DNG_VERSION in values,
            parts=values.get(SUB_DIRECTORIES, ()),
        )

    def check_single_tags(self, start: int) -> None:
        """Raises `DamagedImage` as `choose_page` says."""
        entries = [(tag, kind, count) for tag, kind, count, _ in self._entries(start) if tag in SINGLE]
        for tag, kind, count in entries:
            if count != 1 or kind not in WHOLE_NUMBERS or sum(entry[0] == tag for entry in entries) > 1:
                raise DamagedImage(f"the image is damaged: its tag {tag} is not one whole number; save it again")

    def check_tables(self, page: Page) -> None:
        """Raises `DamagedImage` as the function of this name says."""
        entries = {tag: (kind, count, content) for tag, kind, count, content in reversed(self._entries(page.start))}
        numbers = {tag: values[0] for tag, entry in entries.items() if (values := self._values(*entry))}
        if not {WIDTH, LENGTH} <= set(numbers):
            return
        need, pieces = piece_count(numbers, has_tiles={TILE_WIDTH, TILE_LENGTH} <= set(numbers))
        tables = [self._table(*entries[tag]) for tag in TABLES if tag in entries]
        if short := [table for table in tables if len(table) < need]:
            problem = f"its rows need {need} {pieces}, and a table has {len(short[0])}"
        elif len(tables) == 2 and need > 1 and (odd := np.count_nonzero((tables[0][:need] == 0) != (tables[1][:need] == 0))):
            problem = f"{odd} of its {need} {pieces} have a place without bytes, or bytes without a place"
        else:
            return
        raise DamagedImage(f"the image is damaged: {problem}; is the file complete?")

    def _table(self, kind: int, count: int, content: bytes) -> npt.NDArray[np.integer]:
        """All whole numbers of an entry, as far as the file has them."""
        letter = NUMBERS.get(kind, "B")
        size, start = struct.calcsize(f"={letter}"), struct.unpack(self.order + self.offset, content)[0]
        part = content[: size * count] if size * count <= len(content) else self.data[start : start + size * count]
        return np.frombuffer(part[: len(part) // size * size], np.dtype(f"{self.order}{letter}"))

    def _count(self, start: int) -> int:
        return next(iter(self._numbers(self.head, start, 1)), 0)

    def _entries(self, start: int) -> list[tuple[int, int, int, bytes]]:
        """The complete entries of the directory at this byte: tag, type, number of values, and the values or their place."""
        if self._count(start) > MOST_ENTRIES:
            problem = f"it has {self._count(start):,} tags, and at most {MOST_ENTRIES:,} are read"
            raise DamagedImage(f"the image is damaged: {problem}; save it again")
        at, length = start + struct.calcsize(f"={self.head}"), struct.calcsize(f"={self.entry}")
        directory = self.data[at : at + self._count(start) * length]
        return list(struct.iter_unpack(self.order + self.entry, directory[: len(directory) // length * length]))

    def _values(self, kind: int, count: int, content: bytes) -> tuple[int, ...]:
        """The first `MOST_PAGES` whole numbers of an entry; none for entries of other types."""
        if kind not in NUMBERS:
            return ()
        count, letter = min(count, MOST_PAGES), NUMBERS[kind]
        if count * struct.calcsize(f"={letter}") <= len(content):
            return struct.unpack_from(f"{self.order}{count}{letter}", content)
        return self._numbers(letter, struct.unpack(self.order + self.offset, content)[0], count)

    def _numbers(self, letter: str, place: int, count: int) -> tuple[int, ...]:
        """So many numbers at this byte; none if the file ends before."""
        layout = f"{self.order}{count}{letter}"
        return struct.unpack_from(layout, self.data, place) if place + struct.calcsize(layout) <= len(self.data) else ()
