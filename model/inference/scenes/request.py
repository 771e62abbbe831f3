"""What is asked of a scene."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NewType, get_args

from common.arrays import Size
from imaging.band_scale import BandScale, parse_bands, parse_scale
from imaging.errors import WrongParameter
from imaging.georeferenced import BOX
from imaging.parameters import Parameter, parameters_of, read_values
from imaging.rendering import RENDERING, Rendering, Topology
from model.inference.plan import OPTIONS, PARAMETERS
from model.inference.tiling import Blend

Kind = Literal["tif", "geojson", "gpkg"]
KINDS: dict[str, Kind] = {".tif": "tif", ".tiff": "tif", ".geojson": "geojson", ".gpkg": "gpkg"}
"""What an output is, by the ending of its name."""
SquareMetres = NewType("SquareMetres", float)
SQUARE_METRES = r"([0-9]{1,12}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}) ?m(?:2|²)"
OF_POLYGONS = ("classes", "topology", "tolerance", "min_area")
"""The parameters that polygons have, and rasters do not."""
OF_RASTERS = ("format",)
EXTENT_BYTES = 1_000_000  # of an extent in words
SceneFormat = Literal["geotiff", "confidence"]


def parse_ground_area(text: str) -> SquareMetres:
    """Parses square metres, such as `5m2`; raises `ValueError`."""
    if match := re.fullmatch(SQUARE_METRES, text):
        return SquareMetres(float(match[1]))
    raise ValueError(f"min_area of a scene is in square metres, such as 5m2, got {text!r}")


def parse_extent(text: str) -> str:
    """A box in coordinates as it is, and the path of a vector file from the root. Raises `ValueError` for a box anywhere."""
    if re.fullmatch(r"[-+.\d\s]+(,[-+.\d\s]+){3}", text):
        raise ValueError(f"extent needs the system of its numbers, such as {text},EPSG:4326")
    return text if BOX.fullmatch(text) else os.path.abspath(text)


def is_ground_area(text: str) -> bool:
    return bool(re.fullmatch(SQUARE_METRES, text))


@dataclass(frozen=True)
class SceneRequest:
    """A scene, and what is made of it. Its parameters are those of photos, and more.

    out: its ending says the `kind`. bands: numbers from 1; None for the file's colours. scale: the samples that become 0 and
    255; None for percentiles. gsd: metres of a pixel that the network sees; None for those that the weights record, or else the
    scene's own pixels. extent: the area outside of which the result is void: a box in coordinates, or the path of a vector
    file. format: what a raster's pixels are, class ids or confidence. min_confidence: below it, classes are void.
    tile: None for the weights'. tolerance: in map units. min_area: in square metres. classes: names and ids; empty for all but
    the background. style: whether to write one for QGIS beside the result. Raises `WrongParameter`.
    """

    source: str
    out: str
    # fmt: off
    bands: Annotated[tuple[int, ...] | None, Parameter(
        help="of a scene: numbers of the bands that the network sees, such as `4,3,2`", metavar="N,N,N",
        option="numbers of the bands that the network sees, such as 4,3,2", unset="red, green and blue, or the first ones",
        values="numbers from 1 with commas, such as 4,3,2", pattern=r"[0-9]{1,4}(,[0-9]{1,4})*", examples=("4,3,2",),
        parse=parse_bands,
    )] = None
    scale: Annotated[BandScale | None, Parameter(
        help="of a scene: samples that become 0 and 255, such as `0,3000`", metavar="MIN,MAX",
        option="samples that become 0 and 255", unset="percentiles 2 and 98 of the whole scene; bytes stay",
        values="MIN,MAX, such as 0,3000", pattern=r"[-+.0-9eE]+,[-+.0-9eE]+", examples=("0,3000",), parse=parse_scale,
    )] = None
    gsd: Annotated[float | None, Parameter(
        help="of a scene: metres of a pixel that the network sees (default: those of the pixels that the weights learned from)",
        option="scale the scene so that a pixel that the network sees measures this much", metavar="METRES",
        unset="that of the pixels that the weights learned from, if they record it, else the scene's own", least=1e-3, most=1e6,
    )] = None
    extent: Annotated[str | None, Parameter(
        help="of a scene: the area that is segmented: `LEFT,BOTTOM,RIGHT,TOP,SYSTEM` or, in a form, GeoJSON of at most 1 MB",
        option="segment this area alone: a vector file, or LEFT,BOTTOM,RIGHT,TOP,SYSTEM such as 8.1,48.2,8.3,48.4,EPSG:4326",
        metavar="AREA", unset="the whole scene", values="an area, such as 8.1,48.2,8.3,48.4,EPSG:4326", most=EXTENT_BYTES,
        parse=parse_extent,
    )] = None
    format: Annotated[SceneFormat, RENDERING["format"]] = "geotiff"
    min_confidence: Annotated[float, RENDERING["min_confidence"]] = 0.0
    overlap: Annotated[float, OPTIONS["overlap"]] = 0.25
    blend: Annotated[Blend, OPTIONS["blend"]] = "mean"
    classes: Annotated[tuple[str, ...], RENDERING["classes"]] = ()
    topology: Annotated[Topology | None, RENDERING["topology"]] = None
    tolerance: Annotated[float, RENDERING["tolerance"]] = 0.0
    min_area: Annotated[SquareMetres, replace(OPTIONS["min_area"], parse=parse_ground_area)] = SquareMetres(0.0)
    # fmt: on
    cog: bool = False
    tile: Size | None = None
    resume: bool = False
    style: bool = False

    def __post_init__(self) -> None:
        if self.format not in get_args(SceneFormat):
            raise WrongParameter(f"format={self.format} is not for scenes; give format=geotiff or format=confidence")
        if self.format == "confidence" and self.min_confidence:
            problem = "min_confidence applies to classes, and format=confidence has none"
            raise WrongParameter(f"{problem}; leave min_confidence out")

    @classmethod
    def of(cls, source: str, out: str, values: Mapping[str, Any], **others: Any) -> SceneRequest:
        """What the parameters' values ask for, as far as the output has them; texts are read. others: as of the class.

        Raises `ValueError`.
        """
        return cls(source, out, **read_values(scene_parameters([kind_of(out)]), values), **others)

    @property
    def kind(self) -> Kind:
        return KINDS[os.path.splitext(self.out)[1].lower()]

    @property
    def is_polygons(self) -> bool:
        return self.kind != "tif"

    @property
    def rendering(self) -> Rendering:
        """The form of answer of a photo that has the same content."""
        return Rendering("geojson" if self.is_polygons else self.format, min_confidence=self.min_confidence)


def kind_of(out: str | None) -> Kind | None:
    """What a scene becomes in an output of this name; None for outputs of pictures."""
    return KINDS.get(os.path.splitext(out or "")[1].lower())


def scene_parameters(kinds: Iterable[Kind | None]) -> dict[str, Parameter]:
    """The parameters that any of these kinds of a scene's outputs has, by name."""
    foreign = set(OF_RASTERS + OF_POLYGONS).intersection(*(OF_POLYGONS if kind == "tif" else OF_RASTERS for kind in kinds))
    return {name: each for name, each in parameters_of(SceneRequest).items() if name not in foreign}


SCENE = {name: each for name, each in scene_parameters(KINDS.values()).items() if name not in PARAMETERS}
"""The parameters that only scenes have, by name."""
