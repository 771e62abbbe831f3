"""Images as files' bytes, whatever they came as."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

ImageLike = bytes | str | os.PathLike[str] | IO[bytes] | Image.Image | npt.NDArray[np.uint8]
"""A file's bytes, a path, an open file, a Pillow image, or an array (H, W, 3) or (H, W) of uint8."""


class Upload(NamedTuple):
    """A file to send."""

    name: str
    data: bytes


def upload_of(image: ImageLike) -> Upload:
    """The bytes to send: files as they are, pixels as PNG, without loss. Raises `TypeError`, `ValueError` or `OSError`."""
    if isinstance(image, bytes):
        return Upload("image", image)
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        return Upload(path.name, path.read_bytes())
    if isinstance(image, np.ndarray):
        return Upload("image.png", _png(_from_array(image)))
    if isinstance(image, Image.Image):
        return Upload("image.png", _png(image))
    if hasattr(image, "read"):
        return Upload(Path(str(getattr(image, "name", "image"))).name, image.read())
    raise TypeError(f"an image must be bytes, a path, a file, a Pillow image or an array, got {type(image).__name__}")


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(f"an array must be uint8 (H, W, 3) or (H, W), got {array.dtype} {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _png(image: Image.Image) -> bytes:
    """Without its EXIF: the pixels are meant as they lie."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=b"", compress_level=1)
    return buffer.getvalue()
