"""Rasters with coordinates: reading by windows, scaling bands to 8 bits, writing rasters and polygons.

Needs the extra `geo`. Only this folder imports rasterio and pyogrio.
"""

from __future__ import annotations

import re

from imaging.errors import UnknownImageType

NUMBER = r"\s{0,9}([-+]?[0-9]{1,15}(?:\.[0-9]{0,15})?)\s{0,9}"
BOX = re.compile(rf"{NUMBER},{NUMBER},{NUMBER},{NUMBER},\s{{0,9}}((?i:EPSG|ESRI|OGC):[0-9A-Za-z]{{1,20}})\s{{0,9}}", re.ASCII)
"""How a box in coordinates is written: its left, lower, right and upper edge, and their system."""
BOX_WORDS = "LEFT,BOTTOM,RIGHT,TOP,SYSTEM, such as 8.1,48.2,8.3,48.4,EPSG:4326"
PACKAGES = ("affine", "pyogrio", "rasterio")
MISSING = (
    "an answer with coordinates needs rasterio, which is not installed here: install this package with its extra geo, or ask "
    "for another format"
)


def load() -> None:
    """Imports what decodes georeferenced TIFFs and encodes answers with their coordinates, which takes memory and a moment.

    Call it before an import of this folder where the extra may be missing. Raises `UnknownImageType` if it is.
    """
    try:
        import imaging.georeferenced.answer
        import imaging.georeferenced.whole  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in PACKAGES:
            raise UnknownImageType(MISSING) from error
        raise
