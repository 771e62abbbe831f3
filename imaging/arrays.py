"""Types of arrays that several files use. What the numbers mean is in the name; shapes are said where they are used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint8]
"""Of classes."""
Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
