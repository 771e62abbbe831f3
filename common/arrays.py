"""Types of arrays, sizes and boxes that several files use. What the numbers mean is in the name; shapes are said where used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint8]
"""Of classes."""
Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Integers16 = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Samples = npt.NDArray[Any]
"""Values of a raster's bands, in the file's own type."""
Geometries = npt.NDArray[np.object_]
"""Of shapely."""
Size = tuple[int, int]
"""(height, width) in pixels, unless its place says otherwise."""
Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels; right and bottom lie outside."""
