"""Converts every accepted kind of image to the bytes of an image file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fcn_client.fetching import fetch, is_address

ImageLike = bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes] | Image.Image | npt.NDArray[np.uint8]
"""A file's bytes, a path, an address (`http://`, `https://`), an open file, a Pillow image, or an array (H, W, 3) or (H, W) of
uint8."""
FETCH_TIMEOUT_S = 120.0
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B")
MODES_WITHOUT_RANGE = ("I", "F", "I;16L", "I;16N")


class Upload(NamedTuple):
    """A file to send: its name and its bytes."""

    name: str
    data: bytes


def upload_of(image: ImageLike, timeout: float = FETCH_TIMEOUT_S) -> Upload:
    """The file to send. Files keep their bytes; arrays and Pillow images are encoded as PNG, without loss.

    timeout: seconds to fetch an address. Raises `TypeError`, `ValueError` or `OSError` (`FetchFailed` for an address).
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return Upload("image", bytes(image))
    if isinstance(image, str) and is_address(image):
        name, data = fetch(image, timeout=timeout)
        return Upload(_utf8(name), data)
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        return Upload(_utf8(path.name), path.read_bytes())
    if isinstance(image, np.ndarray):
        return Upload("image.png", _png(_from_array(image)))
    if isinstance(image, Image.Image):
        return Upload("image.png", _png(_writable(image)))
    if hasattr(image, "read"):
        return Upload(_utf8(Path(str(getattr(image, "name", "image"))).name), _read(image))
    kinds = "bytes, a path, an address, a file, a Pillow image or an array"
    raise TypeError(f"an image must be {kinds}, got {type(image).__name__}")


def refuse_one(images: object) -> None:
    """Raises `TypeError` for one image where several are expected: its letters, bytes, lines or rows would be the images."""
    is_array = isinstance(images, np.ndarray) and (images.ndim == 2 or (images.ndim == 3 and images.shape[2] == 3))
    is_file = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image) or hasattr(images, "read")
    if is_array or is_file:
        raise TypeError(
            f"several images must be a list or another iterable, got one {type(images).__name__}; put it into a list"
        )


def _utf8(name: str) -> str:
    """The name as text for a form. Bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def _read(file: IO[bytes]) -> bytes:
    data: object = file.read()
    if not isinstance(data, bytes):
        raise TypeError(f"a file must give bytes, got {type(data).__name__}; open it with mode 'rb'")
    return data


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(f"an array must be uint8 (H, W, 3) or (H, W) with pixels, got {array.dtype} {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _writable(image: Image.Image) -> Image.Image:
    """The image itself if PNG supports its mode, else converted to RGB, or to RGBA if it has transparency."""
    if 0 in image.size:
        raise ValueError(f"an image must have pixels, got {image.width}x{image.height}")
    if image.mode in MODES_WITHOUT_RANGE:
        raise ValueError(f"mode {image.mode} does not say which value is white; convert the image to L or RGB")
    if image.mode in PNG_MODES:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _png(image: Image.Image) -> bytes:
    """Encodes the image as PNG, without its EXIF: the service must not turn the pixels by an orientation."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=b"", compress_level=1)
    return buffer.getvalue()
