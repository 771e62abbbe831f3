"""What is asked of a scene."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from imaging.band_scale import BandScale
from model.inference.tiling import Blend, Size

Kind = Literal["raster", "geojson", "geopackage"]
KINDS: dict[str, Kind] = {".tif": "raster", ".tiff": "raster", ".geojson": "geojson", ".gpkg": "geopackage"}
"""What an output is, by the ending of its name."""


@dataclass(frozen=True)
class SceneRequest:
    """A scene, and what is made of it.

    kind: what `out` is. bands: numbers from 1; None for the file's colours. scale: the samples that become 0 and 255; None for
    percentiles. gsd: metres of a pixel that the network sees; None for those that the weights record, or else the scene's own
    pixels. tile: None for the weights'.
    tolerance: in map units. min_area: in square metres. classes: names and ids; empty for all but the background. style:
    whether to write one for QGIS beside the result.
    """

    source: str
    out: str
    kind: Kind
    bands: tuple[int, ...] | None = None
    scale: BandScale | None = None
    gsd: float | None = None
    cog: bool = False
    tile: Size | None = None
    overlap: float = 0.25
    blend: Blend = "mean"
    classes: tuple[str, ...] = ()
    shared_borders: bool = False
    tolerance: float = 0.0
    min_area: float = 0.0
    resume: bool = False
    style: bool = False

    @property
    def is_polygons(self) -> bool:
        return self.kind != "raster"


def kind_of(out: str | None) -> Kind | None:
    """What a scene becomes in an output of this name; None for outputs of pictures."""
    return KINDS.get(os.path.splitext(out or "")[1].lower())
