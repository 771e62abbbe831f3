"""What is asked of a scene."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from imaging.band_scale import BandScale, parse_bands, parse_scale
from imaging.parameters import Parameter, parameters_of
from model.inference.tiling import Blend, Size

Kind = Literal["raster", "geojson", "geopackage"]
KINDS: dict[str, Kind] = {".tif": "raster", ".tiff": "raster", ".geojson": "geojson", ".gpkg": "geopackage"}
"""What an output is, by the ending of its name."""
SQUARE_METRES = r"([0-9]{1,12}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}) ?m(?:2|²)"


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
    # fmt: off
    bands: Annotated[tuple[int, ...] | None, Parameter(
        help="of a scene: numbers of the bands that the network sees, such as `4,3,2`",
        option="numbers of the bands that the network sees, such as 4,3,2 (default: red, green and blue, or the first ones)",
        values="numbers from 1 with commas, such as 4,3,2", pattern=r"[0-9]{1,4}(,[0-9]{1,4})*", examples=("4,3,2",),
        parse=parse_bands,
    )] = None
    scale: Annotated[BandScale | None, Parameter(
        help="of a scene: samples that become 0 and 255, such as `0,3000`",
        option="samples that become 0 and 255 (default: percentiles 2 and 98 of the whole scene; bytes stay)",
        values="MIN,MAX, such as 0,3000", pattern=r"[-+.0-9eE]+,[-+.0-9eE]+", examples=("0,3000",), parse=parse_scale,
    )] = None
    gsd: Annotated[float | None, Parameter(
        help="of a scene: metres of a pixel that the network sees (default: those of the pixels that the weights learned from)",
        option="scale the scene so that a pixel that the network sees measures this much (default: that of the pixels that the "
        "weights learned from, if they record it, else the scene's own)",
        least=1e-3, most=1e6,
    )] = None
    # fmt: on
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


SCENE = parameters_of(SceneRequest)
"""The parameters that only scenes have, by name."""


def parse_ground_area(text: str) -> float:
    """Parses square metres, such as `5m2`; raises `ValueError`."""
    if match := re.fullmatch(SQUARE_METRES, text):
        return float(match[1])
    raise ValueError(f"min_area of a scene is in square metres, such as 5m2, got {text!r}")
