"""Chooses the page of a TIFF that is the image, and checks that Pillow reads what its tags declare (TIFF 6.0)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

import numpy as np
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2, TiffImageFile

from imaging.errors import DamagedImage, UnknownImageType
from imaging.formats.signatures import ignore_pillow_warnings

Tags = Mapping[int, Any]
WHITE_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 2, 3, 5, 6
MOST_8_BIT = 255
UNSPECIFIED, PREMULTIPLIED = 0, 1  # values of ExtraSamples
CMYK = 1  # value of InkSet
GREYS = (0, 1)  # photometric interpretations: white is 0, black is 0
PLACES = {33550, 34264, 34735}  # tags of GeoTIFF 1.1: ModelPixelScale, ModelTransformation, GeoKeyDirectory
GEO_WORDS = 34737  # of GeoTIFF 1.1: GeoAsciiParams
REDUCED_IMAGE = 1  # bit of NewSubfileType: a smaller version of another image in the file
PHOTOMETRICS = (0, 1, 2, 3, 5, 6, 8)  # grey, RGB, palette, CMYK, YCbCr, CIE L*a*b*
SAMPLE_FORMATS = {2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}
RAW, FAX = 1, (2, 3, 4, 32771)  # compressions: none, CCITT's
UNREAD_COMPRESSIONS = (50001,)  # WebP: Pillow knows the number, but the libtiff in its wheels lacks the codec
BITS = (1, 2, 4, 8, 16)
RAW_FILE = "the file is a camera's raw file, of which a TIFF reader sees only the preview; save it as JPEG or TIFF"
FULL_RANGE = (0, 255, 128, 255, 128, 255)  # of YCbCr: black and white of each component
MOST_BETWEEN = 0.1  # of all pixels, at soft edges
OLD_REDUCED = 2  # value of SubfileType, a tag of before NewSubfileType: a smaller version
MASK = 4  # bit of NewSubfileType: says where another page is transparent
CANON_RAW = b"II*\0\x10\0\0\0CR\x02"
NO_TAGS = "the image is damaged: its tags cannot be read; is the file complete?"
MOST_PAGES = 64  # that are looked at
MOST_TABLE_BYTES = 1 << 27  # of all their tags: 8 million tiles
TYPE_BYTES = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8, 0], np.float64)  # of a value of each type
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
        raise DamagedImage(NO_TAGS)
    first, index = _read(file, pages[0].place), 0
    if Tag.DNGVersion in first or data.startswith(CANON_RAW):
        raise UnknownImageType(RAW_FILE)
    if pages[0].is_reduced:
        whole = [at for at, page in enumerate(pages) if not (page.is_reduced or page.is_mask)] or [0]
        index = max(whole, key=lambda at: pages[at].width * pages[at].height)
    elif parts := first.get(Tag.SubIFDs):
        places = dict.fromkeys((parts if isinstance(parts, tuple) else (parts,))[:MOST_PAGES])
        _check_bytes(file, sum(_table_bytes(file, place) for place in places))
        pages += [Page.of(place, _read(file, place)) for place in places]
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
    ignore_pillow_warnings()
    try:
        for index, (place, tags) in enumerate(_directories(file)):
            page = Page.of(place, tags)
            if not index or page.is_reduced or page.is_mask:
                check_pieces(tags, may_be_sparse=True)
    except (KeyError, TypeError, OverflowError) as error:
        raise DamagedImage(NO_TAGS) from error


def system_words(file: IO[bytes]) -> str:
    """What a TIFF says of its coordinate systems in words (GeoAsciiParams). Raises `ImageError`."""
    ignore_pillow_warnings()
    return " ".join(str(tags.get(GEO_WORDS, "")) for _, tags in _directories(file))


def tiff_problem(tags: Tags) -> str | None:
    """A message that says which sample type or layout of the TIFF is not read, and how to convert it; None if all is read."""
    bits, formats = _numbers(tags, Tag.BitsPerSample, 1), _numbers(tags, Tag.SampleFormat, 1)
    photometric, compression = tags.get(Tag.PhotometricInterpretation, 0), tags.get(Tag.Compression, RAW)
    if names := [SAMPLE_FORMATS[number] for number in formats if number in SAMPLE_FORMATS]:
        return f"the image has {names[0]} samples of an unknown range; save it in 8 or 16 bits"
    if unread_bits := [count for count in bits if count not in BITS]:
        return f"the image has samples of {unread_bits[0]} bits, whose value of white is unknown; save it in 8 or 16 bits"
    if Tag.DNGVersion in tags or (Tag.SubIFDs in tags and tags.get(Tag.NewSubfileType, 0) & REDUCED_IMAGE):
        return RAW_FILE
    if Tag.PhotometricInterpretation not in tags and compression not in FAX:
        return "the TIFF does not say whether 0 is black or white; save it as grey or RGB"
    if photometric not in PHOTOMETRICS or compression not in COMPRESSION_INFO or compression in UNREAD_COMPRESSIONS:
        kind = f"photometric interpretation {photometric} and compression {compression}"
        return f"the TIFF has {kind}, which are not read; save it as grey or RGB, with LZW or Deflate"
    if photometric == WHITE_IS_ZERO and max(bits) > 8:
        return "the TIFF has 16-bit samples whose 0 is white, which are not read; save it with 0 as black"
    if photometric == PALETTE and max(_numbers(tags, Tag.ColorMap, MOST_8_BIT + 1), default=0) <= MOST_8_BIT:
        return "the TIFF has a palette of 8 bits where 16 are required, and would be black; save it as RGB"
    if photometric in GREYS and Tag.ColorMap in tags:
        return "the TIFF says that it is grey and has a palette, which programs read in two ways; save it as RGB"
    if photometric == SEPARATED and tags.get(Tag.InkSet, CMYK) != CMYK:
        return "the TIFF has inks other than CMYK, which are not read; save it as RGB"
    extra = _numbers(tags, Tag.ExtraSamples, UNSPECIFIED)
    if photometric in GREYS and tags.get(Tag.SamplesPerPixel) == 2 and not any(extra):
        return "the TIFF has a second sample and does not say that it is opacity; save its first band alone"
    raw = compression == RAW and (set(bits) != {8} or PREMULTIPLIED in extra or tags.get(Tag.FillOrder, 1) != 1)
    opacity_and_more = len(extra) > 1 and any(extra)
    if _is_apart(tags) and (raw or opacity_and_more or photometric not in (RGB, SEPARATED)):
        return "the TIFF has its planes apart, which is read for 8-bit RGB and CMYK alone; save it with its planes together"
    if compression == RAW and photometric == YCBCR and not _is_plain_ycbcr(tags):
        return "the TIFF has YCbCr of its own sampling or range without compression, which is not read; save it as RGB"
    return None


def check_pieces(tags: Tags, *, may_be_sparse: bool = False) -> None:
    """Raises `DamagedImage` if strips or tiles are missing, or if uncompressed ones have fewer bytes than their rows.

    libtiff takes missing ones for empty, and Pillow leaves them black. may_be_sparse: whether some may be empty by intention,
    as in a sparse file of GDAL: their offset and number of bytes are both 0.
    """
    across, down = _piece_sides(tags)
    if across < 1 or down < 1:
        raise DamagedImage(f"the image is damaged: its strips or tiles have {across}x{down} pixels; save it again")
    if Tag.TileWidth in tags and Tag.StripOffsets in tags and not may_be_sparse:
        raise DamagedImage("the image is damaged: it has strips as well as tiles; save it again")
    pieces, rows = "tiles" if Tag.TileWidth in tags else "strips", -(-tags[Tag.ImageLength] // down)
    need = rows * -(-tags[Tag.ImageWidth] // across) * (tags[Tag.SamplesPerPixel] if _is_apart(tags) else 1)
    offsets = _numbers(tags, Tag.TileOffsets) or _numbers(tags, Tag.StripOffsets)
    counts = _numbers(tags, Tag.TileByteCounts) or _numbers(tags, Tag.StripByteCounts)
    if may_be_sparse:
        whole = sum((offset == 0) == (count == 0) for offset, count in zip(offsets[:need], counts, strict=False))
        is_whole = whole == need or need == 1
    else:
        counts = counts if len(counts) == len(offsets) else (-1,) * len(offsets)
        whole = sum(offset != 0 and count != 0 for offset, count in zip(offsets, counts, strict=True))
        is_whole = whole == need == len(offsets)
    if not is_whole:
        raise DamagedImage(f"the image is damaged: its rows need {need} {pieces}, and it has {whole}; is the file complete?")
    is_raw = tags.get(Tag.Compression, RAW) == RAW and tags.get(Tag.PhotometricInterpretation) != YCBCR
    if may_be_sparse or not is_raw or need == 1 or -1 in counts:
        return
    bits = _numbers(tags, Tag.BitsPerSample, 1)
    pixel_bits = bits[0] if _is_apart(tags) else sum(bits) if len(bits) > 1 else bits[0] * tags.get(Tag.SamplesPerPixel, 1)
    last_rows = down if pieces == "tiles" else tags[Tag.ImageLength] - (rows - 1) * down
    for index, count in enumerate(counts, 1):
        if count < -(-across * pixel_bits // 8) * (last_rows if index % rows == 0 else down):
            raise DamagedImage(f"the image is damaged: its {pieces} hold fewer bytes than its rows; is the file complete?")


def piece_bytes(tags: Tags) -> int:
    """Number of bytes of the pixels in a strip or tile. libtiff decodes each as a whole."""
    across, down = _piece_sides(tags)
    return across * down * max(4, sum(_numbers(tags, Tag.BitsPerSample, 1)) // 8)


def check_fourth_sample(image: TiffImageFile) -> None:
    """Raises `UnknownImageType` for a decoded image with a last sample of undeclared meaning, or of one that is not believed.

    Pillow treats it as opacity, but it may be infrared, also in a file with coordinates that calls it opacity, as GDAL writes
    any fourth band. If it is 255 everywhere, it does not affect the result.
    """
    if image.mode not in ("LA", "La", "RGBA", "RGBa"):
        return
    clear, *between, full = image.histogram()[-MOST_8_BIT - 1 :]
    if not PLACES.isdisjoint(image.tag_v2) and not is_opacity(sum(between), full, image.width * image.height):
        raise UnknownImageType(
            "the TIFF has coordinates, and what it calls opacity is neither none nor full in many pixels, as near infrared is; "
            "save it without that band, or ask for an answer with coordinates"
        )
    if image.mode == "RGBA" and Tag.ExtraSamples not in image.tag_v2 and (clear or any(between)):
        raise UnknownImageType("the TIFF has a fourth sample and does not say whether it is opacity; save it as RGB")


def is_opacity(between: int, full: int, pixels: int) -> bool:
    """Whether the values of a band are 0 and the fullest one nearly everywhere, as opacity is, and near infrared is not.

    between: the number of pixels with another value. full: those with the fullest. pixels: all.
    """
    return between <= min(MOST_BETWEEN * pixels, full)


def _piece_sides(tags: Tags) -> tuple[int, int]:
    """The (width, height) of a strip or tile in pixels."""
    if Tag.TileWidth in tags:
        return tags[Tag.TileWidth], tags[Tag.TileLength]
    length = tags[Tag.ImageLength]
    return tags[Tag.ImageWidth], min(tags.get(Tag.RowsPerStrip, length), length)


def _numbers(tags: Tags, tag: int, *default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value,)


def _is_apart(tags: Tags) -> bool:
    """Whether the file stores each sample of a pixel in a separate plane."""
    return bool(tags.get(Tag.PlanarConfiguration, 1) == 2 and tags.get(Tag.SamplesPerPixel, 1) > 1)


def _is_plain_ycbcr(tags: Tags) -> bool:
    """Whether YCbCr is not subsampled and uses the full range. Pillow's own reader supports nothing else."""
    sampling, reference = tags.get(Tag.YCbCrSubSampling, (2, 2)), tags.get(Tag.ReferenceBlackWhite, FULL_RANGE)
    return tuple(sampling) == (1, 1) and tuple(map(float, reference)) == FULL_RANGE


def _directories(file: IO[bytes]) -> Iterator[tuple[int, Tags]]:
    """The places of the first `MOST_PAGES` directories, and their tags, up to one beyond the file or that was read before."""
    place, places, size, end = _header(file).next, set[int](), 0, file.seek(0, io.SEEK_END)
    while 0 < place < end and place not in places and len(places) < MOST_PAGES:
        _check_bytes(file, size := size + _table_bytes(file, place))
        if not (tags := _read(file, place)):
            return
        yield place, tags
        places.add(place)
        place = tags.next


def _check_bytes(file: IO[bytes], size: int) -> None:
    """Raises `DamagedImage` for so many bytes of tags: more than the file has, as they lie one over another, or too many."""
    if size > min(file.seek(0, io.SEEK_END), MOST_TABLE_BYTES):
        raise DamagedImage(f"the image is damaged: its tags have {size} bytes, more than its size or {MOST_TABLE_BYTES} allow")


def _table_bytes(file: IO[bytes], place: int) -> int:
    """The bytes of the directory that begins at this byte and of its values in the file, which are not read."""
    end, _, head = file.seek(0, io.SEEK_END), file.seek(0), file.read(4)
    order = ">" if head.startswith(b"MM") else "<"
    count, number = (8, f"{order}u8") if 43 in head[2:] else (2, f"{order}u4")
    entry = np.dtype([("tag", f"{order}u2"), ("type", f"{order}u2"), ("count", number), ("place", number)])
    file.seek(place)
    length = int.from_bytes(file.read(count), "big" if order == ">" else "little") * entry.itemsize
    data = file.read(min(length, end))
    entries = np.frombuffer(data, entry, len(data) // entry.itemsize)
    sizes = TYPE_BYTES[np.minimum(entries["type"], len(TYPE_BYTES) - 1)] * entries["count"]
    return len(data) + int(np.minimum(sizes, end)[sizes > entry["place"].itemsize].sum())


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
    if len(head) < (length := 16 if 43 in head[2:4] else 8):  # BigTIFF's is longer
        raise DamagedImage(NO_TAGS)
    return ImageFileDirectory_v2(head[:length])
