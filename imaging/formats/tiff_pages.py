"""Reads the directories of a TIFF, and chooses the page that is the image (TIFF 6.0, section 2 and part 1)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, NamedTuple

from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from imaging.errors import DamagedImage, UnknownImageType
from imaging.formats.tiff import RAW_FILE, REDUCED_IMAGE, Tags, check_pieces, tiff_problem

OLD_REDUCED = 2  # value of SubfileType, a tag of before NewSubfileType: a smaller version
MASK = 4  # bit of NewSubfileType: says where another page is transparent
CANON_RAW = b"II*\0\x10\0\0\0CR\x02"
MOST_PAGES = 64  # that are looked at
LEAST_RATIO = 2  # of the sides of a page to those of a page that is taken for its thumbnail


class Page(NamedTuple):
    """A directory: the place of its first byte, its size in pixels, and what it says of its relation to other pages."""

    place: int
    width: int
    height: int
    is_reduced: bool
    is_mask: bool

    @classmethod
    def of(cls, place: int, tags: Tags) -> Page:
        """Numbers that lack are 0."""
        subfile = tags.get(Tag.NewSubfileType, 0)
        is_reduced = bool(subfile & REDUCED_IMAGE) or tags.get(Tag.SubfileType) == OLD_REDUCED
        return cls(place, tags.get(Tag.ImageWidth, 0), tags.get(Tag.ImageLength, 0), is_reduced, bool(subfile & MASK))

    def is_thumbnail_of(self, other: Page) -> bool:
        """Whether this page is much smaller than the other, and has its shape to a pixel on each side."""
        has_shape = abs(self.width * other.height - self.height * other.width) <= other.width + other.height
        is_small = 0 < LEAST_RATIO * self.width <= other.width and 0 < LEAST_RATIO * self.height <= other.height
        return has_shape and is_small and not (other.is_reduced or other.is_mask)


def check_page(data: bytes) -> int:
    """Checks the page to read, and returns its index: the first, or the largest if the first is declared a smaller version.

    Looks at no more than `MOST_PAGES` pages. Raises `UnknownImageType` for a camera's raw file, for samples that Pillow would
    misread, and if the page looks like a thumbnail of another one, also of one that is not read, and does not say so. Raises
    `DamagedImage` if it lacks strips or tiles.
    """
    file = io.BytesIO(data)
    pages = [Page.of(*entry) for entry in _directories(file)]
    if not pages:
        raise DamagedImage("the image is damaged: its tags cannot be read; is the file complete?")
    first, index = _read(file, pages[0].place), 0
    if Tag.DNGVersion in first or data.startswith(CANON_RAW):
        raise UnknownImageType(RAW_FILE)
    if pages[0].is_reduced:
        whole = [at for at, page in enumerate(pages) if not (page.is_reduced or page.is_mask)] or [0]
        index = max(whole, key=lambda at: pages[at].width * pages[at].height)
    elif parts := first.get(Tag.SubIFDs):
        places = parts if isinstance(parts, tuple) else (parts,)
        pages += [Page.of(place, _read(file, place)) for place in places[:MOST_PAGES]]
    page, tags = pages[index], _read(file, pages[index].place)
    if other := next((other for other in pages if page.is_thumbnail_of(other)), None):
        sizes = f"{page.width}x{page.height} pixels, and another of its shape has {other.width}x{other.height}"
        raise UnknownImageType(f"the first page of the TIFF has {sizes}; save the page that you mean as a file of its own")
    check_pieces(tags)
    if problem := tiff_problem(tags):
        raise UnknownImageType(problem)
    return index


def check_tables(file: IO[bytes]) -> None:
    """Raises `DamagedImage` if the first page, a smaller version of it or a mask lacks strips or tiles; some may be empty."""
    try:
        for index, (place, tags) in enumerate(_directories(file)):
            page = Page.of(place, tags)
            if not index or page.is_reduced or page.is_mask:
                check_pieces(tags, may_be_sparse=True)
    except (KeyError, TypeError, OverflowError) as error:
        raise DamagedImage("the image is damaged: its tags cannot be read; is the file complete?") from error


def _directories(file: IO[bytes]) -> Iterator[tuple[int, Tags]]:
    """The places of the first `MOST_PAGES` directories, and their tags, up to one beyond the file or that was read before."""
    place, places = _header(file).next, set[int]()
    while place and place not in places and len(places) < MOST_PAGES and (tags := _read(file, place)):
        yield place, tags
        places.add(place)
        place = tags.next


def _read(file: IO[bytes], place: int) -> ImageFileDirectory_v2:
    """The tags of the directory that begins at this byte. Pillow leaves out those whose values lie beyond the file."""
    tags = _header(file)
    file.seek(place)
    tags.load(file)
    return tags


def _header(file: IO[bytes]) -> ImageFileDirectory_v2:
    file.seek(0)
    head = file.read(16)
    if head.startswith(b"MM\0+"):
        raise UnknownImageType("a big-endian BigTIFF is not read; save it little-endian: gdal_translate -co ENDIANNESS=LITTLE")
    return ImageFileDirectory_v2(head if 43 in head[2:4] else head[:8])  # BigTIFF's is longer
