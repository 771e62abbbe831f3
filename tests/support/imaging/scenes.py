"""Small scenes, written with rasterio: a raster with coordinates in every odd form."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from imaging.answer import Segmentation, SegmentedImage
from model.labels import numbered_labels
from tests.support.imaging.corners import tag_values, with_tag

LABELS = numbered_labels(["background", "house", "tree"])
MODEL = {"name": "narrow", "sha256": "0" * 64, "runtime": "openvino", "precision": "float32"}
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


def source(name: str, *, relative: bool = True, kind: str = "SimpleSource", more: str = "") -> str:
    file = f'<SourceFilename relativeToVRT="{int(relative)}">{name}</SourceFilename>'
    return f"<{kind}>{file}<SourceBand>1</SourceBand>{more}</{kind}>"


def vrt(*bands: str, types: Sequence[str] = ("Byte",) * 9, before: str = "", attributes: str = "", of_band: str = "") -> str:
    """A VRT of 160x96 pixels with these bands."""
    texts = (
        f'<VRTRasterBand dataType="{kind}" band="{number}"{of_band}>{band}</VRTRasterBand>'
        for number, (band, kind) in enumerate(zip(bands, types, strict=False), 1)
    )
    return f'<VRTDataset rasterXSize="160" rasterYSize="96"{attributes}>{before}{"".join(texts)}</VRTDataset>'


def segmented(class_map: npt.NDArray[np.uint8], confidence: int | None = 200) -> SegmentedImage:
    """A class map of background, houses and trees, as sure of each pixel."""
    values = None if confidence is None else np.full_like(class_map, confidence)
    return SegmentedImage(Segmentation(class_map, values), LABELS, MODEL, {})


def change_table(data: bytes, tag: int, *, count: int | None = None, zero: int | None = None) -> bytes:
    """The TIFF with fewer values in a table of its first page, or with a value of it set to 0."""
    values = tag_values(data, tag)[:count]
    if zero is not None:
        values[zero] = 0
    return with_tag(data, tag, values)
