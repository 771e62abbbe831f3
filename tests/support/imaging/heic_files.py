"""HEIC files by x265 and libheif's writer, where the extra `heif` is installed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def heic_of(image: Image.Image, *, bits: int = 8, **options: Any) -> bytes:
    """A HEIC of an image, in samples of 8 or 10 bits. options: as pillow-heif names them."""
    from pillow_heif import encode, from_pillow

    file, options = io.BytesIO(), {"enc_params": {"preset": "ultrafast"}, **options}
    if bits == 8:
        whole = from_pillow(image)
        for other in options.pop("append_images", ()):
            whole.add_from_pillow(other)
        whole.save(file, **options)
    else:
        samples = np.asarray(image).astype("<u2") * 257
        encode(f"{image.mode};16", image.size, samples.tobytes(), file, **options)
    return file.getvalue()
