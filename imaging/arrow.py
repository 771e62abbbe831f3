"""An RGB image's memory as Pillow holds it, by the Arrow C data interface: it is read without the interpreter's lock.

https://arrow.apache.org/docs/format/CDataInterface.html
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
SAMPLES = 4  # of a pixel in memory: red, green, blue, and one that means nothing


class _Array(ctypes.Structure):
    """`struct ArrowArray`."""


_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]
_pointer = ctypes.pythonapi["PyCapsule_GetPointer"]  # by its name in brackets, a function of our own
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class _Memory:
    """An image's samples as numpy asks for them; they stay for as long as this does."""

    def __init__(self, image: Image.Image) -> None:
        _, self._capsule = image.__arrow_c_array__()
        pixels = _Array.from_address(_pointer(self._capsule, b"arrow_array"))
        self.__array_interface__ = {
            "data": (pixels.children[0].contents.buffers[1], False),
            "shape": (image.height, image.width, SAMPLES),
            "typestr": "|u1",
            "version": 3,
        }


def view_rgb(image: Image.Image) -> Pixels | None:
    """The pixels of an RGB image where they lie, uint8 (H, W, 3), a view of (H, W, 4); None for one in several blocks, as
    those of more than 4 megapixels are. What happens to the image happens to them."""
    try:
        return np.asarray(_Memory(image))[:, :, :3]
    except ValueError:
        return None


def copy_rgb(image: Image.Image, out: Pixels) -> None:
    """The pixels of an RGB image to `out`, uint8 (H, W, 3). An image that lies in several blocks goes a slower way."""
    found = view_rgb(image)
    if found is None:
        out[:] = np.asarray(image)
        return
    for channel in range(out.shape[2]):
        out[:, :, channel] = found[:, :, channel]
