"""Small scenes, written with rasterio: a raster with coordinates in every odd form."""

from __future__ import annotations

import os
import struct
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

UTM = "EPSG:32632"
CORNER = 448_000.0, 5_412_000.0
"""The upper left corner of scenes in UTM."""


def north_up(metres: float = 0.5, corner: tuple[float, float] = CORNER) -> Affine:
    """The transform of a scene whose pixels measure this much, in the units of its system."""
    return Affine.translation(*corner) @ Affine.scale(metres, -metres)


def scene_file(samples: npt.NDArray[Any], **options: Any) -> bytes:
    """The bytes of a scene, as `write_scene` writes it."""
    with MemoryFile(ext=".tif") as memory:
        write_scene(memory.name, samples, **options)
        return bytes(memory.read())


def write_scene(path: os.PathLike[str], samples: npt.NDArray[Any], **options: Any) -> str:
    """Writes samples (height, width) or (height, width, bands) as a GeoTIFF, in UTM with pixels of 0.5 m by default.

    options: of `rasterio.open`; `mask`, bool (height, width), becomes an internal mask, `colors` the bands' colours, `colormap`
    the palette.
    """
    bands = samples[:, :, None] if samples.ndim == 2 else samples
    mask, colors, colormap = (options.pop(name, None) for name in ("mask", "colors", "colormap"))
    facts: dict[str, Any] = {"driver": "GTiff", "crs": UTM, "transform": north_up()} | options
    height, width, count = bands.shape
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", height=height, width=width, count=count, dtype=bands.dtype, **facts) as file:
            if colors:
                file.colorinterp = colors
            if colormap:
                file.write_colormap(1, colormap)
            file.write(np.moveaxis(bands, 2, 0))
            if mask is not None:
                file.write_mask(mask)
    return os.fspath(path)


def change_table(data: bytes, tag: int, *, count: int | None = None, zero: int | None = None) -> bytes:
    """The TIFF with another number of values in a table of its first page, or with a value of it set to 0."""
    order, is_big, result = "<" if data[:2] == b"II" else ">", 43 in data[2:4], bytearray(data)
    head, entry, letter = ("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I")
    (start,) = struct.unpack_from(order + letter, data, 8 if is_big else 4)
    (entries,) = struct.unpack_from(order + head, data, start)
    for index in range(entries):
        place = start + struct.calcsize(f"={head}") + index * struct.calcsize(f"={entry}")
        name, kind, number, at = struct.unpack_from(order + entry, data, place)
        if name == tag:
            if count is not None:
                struct.pack_into(order + letter, result, place + 4, count)
            if zero is not None:
                size = {3: 2, 4: 4, 16: 8}[kind]
                inline = number * size <= struct.calcsize(f"={letter}")
                first = (place + struct.calcsize("=HH" + letter) if inline else at) + zero * size
                result[first : first + size] = bytes(size)
    return bytes(result)
