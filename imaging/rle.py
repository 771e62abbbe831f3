"""Class maps as COCO's compressed run-length encoding."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco


def encode_rle(class_map: npt.NDArray[np.uint8], ids: Iterable[int]) -> dict[str, str]:
    """For each id, the compressed RLE of its pixels; `pycocotools.mask.decode` reads it with the map's [h, w] as size."""
    columns = np.asfortranarray(class_map)
    return {str(i): coco.encode(np.asfortranarray(columns == i, np.uint8))["counts"].decode() for i in ids}
