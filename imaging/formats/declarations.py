"""Checks what an image file declares before Pillow opens it, and its pixels afterwards, where Pillow would report no error."""

from __future__ import annotations

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from imaging.formats import heif, png
from imaging.formats.boxes import check_avif
from imaging.formats.jpeg import JPEGHeader, check_jpeg, check_scans
from imaging.formats.tiff import check_fourth_sample, check_page


def check_header(data: bytes, format: str, jpeg: JPEGHeader | None) -> int:
    """Checks the header of a file of this accepted format, and returns the index of the page to read, which only a TIFF has.

    jpeg: of a JPEG, what `read_jpeg_header` gives; else None.
    Raises `UnknownImageType` for samples that Pillow misreads, and `DamagedImage` if the file lacks pixels. Broken headers
    raise errors of other types.
    """
    if format == "TIFF":
        return check_page(data)
    if jpeg:
        check_jpeg(jpeg, data)
    elif format == "AVIF":
        check_avif(data)
    return 0


def check_pixels(image: Image.Image, data: bytes, jpeg: JPEGHeader | None) -> None:
    """Checks a decoded image. jpeg: as in `check_header`.

    Raises `DamagedImage` if pixels are missing, `UnknownImageType` if a sample's meaning is.
    """
    if isinstance(image, TiffImageFile):
        check_fourth_sample(image)
    elif image.format == "PNG":
        png.check_pixels(image, data)
    elif image.format == heif.NAME:
        heif.check_tiles(image, data)
    elif jpeg:
        check_scans(jpeg, image, data)
