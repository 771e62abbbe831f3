"""A segmented image as NumPy arrays in one `.npz` file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt


def npz(arrays: dict[str, npt.NDArray[Any] | None]) -> bytes:
    """Compresses the arrays into one file and omits names whose value is None. Equal arrays give equal bytes."""
    buffer = io.BytesIO()
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
    np.savez_compressed(buffer, **contiguous)  # type: ignore[arg-type]
    return buffer.getvalue()
