"""Query parameters and JSON answers, as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, BeforeValidator, Field, create_model

from app.api.hugging_face import HUGGING_FACE
from imaging.encoding import ImageFormat
from imaging.parameters import Parameter
from imaging.rendering import Format
from model.inference.parameters import PARAMETERS
from model.inference.tiling import Blend
from model.inference.views import Quality

MOST_CHARACTERS = 4096  # of a parameter in a query or a body
COLOR = "#rrggbb, of the label set, the palette PNG, and pictures with palette=labels"
DISPLAY_COLOR = "#rrggbb, of pictures with palette=display, the default"
QUERY_PARAMETERS = PARAMETERS | HUGGING_FACE
"""The parameters of `/segment`, by name."""


@dataclass(frozen=True)
class SegmentQuery:
    """The parameters of a request. values: checked, by name; those that the request does not have are missing."""

    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> Format | None:
        return self.values.get("format")

    @property
    def image_format(self) -> ImageFormat | None:
        return self.values.get("image_format")

    @property
    def model(self) -> str | None:
        return self.values.get("model")

    def with_values(self, values: Mapping[str, Any]) -> SegmentQuery:
        """These parameters with further ones, which replace those of the same name."""
        return SegmentQuery({**self.values, **values})


def _definition(parameter: Parameter) -> tuple[Any, Any]:
    """The type and the default of a parameter's field, with its description and its range."""
    kinds = [_text(parameter)] if parameter.is_text else [_in_range(kind, parameter) for kind in parameter.members]
    default = None if parameter.by_service or parameter.is_text else parameter.default
    kind = reduce(or_, kinds) if default is not None else reduce(or_, kinds) | None
    return kind, Field(default, description=parameter.about)


def _text(parameter: Parameter) -> Any:
    if not parameter.pattern:
        return Annotated[str, Field(max_length=MOST_CHARACTERS)]
    limits = Field(pattern=f"^{parameter.pattern}$", description=parameter.values, examples=list(parameter.examples))
    return Annotated[str, limits, BeforeValidator(lambda value: str(value) if type(value) is int else value)]  # from JSON


def _in_range(kind: Any, parameter: Parameter) -> Any:
    has_range = get_origin(kind) is not Literal and kind is not bool
    return Annotated[kind, Field(ge=parameter.least, le=parameter.most)] if has_range else kind


QUERY_FIELDS: dict[str, Any] = {name: _definition(parameter) for name, parameter in QUERY_PARAMETERS.items()}
QueryModel = create_model("QueryModel", __doc__="Query parameters of `/segment`.", **QUERY_FIELDS)
"""Checks the parameters of a query, a form or JSON."""


class ModelName(BaseModel):
    """The network that answered: its name, the sha256 of its weights, its runtime, and its precision."""

    name: str
    sha256: str
    runtime: str
    precision: str


class ImageSize(BaseModel):
    width: int
    height: int


class ClassShare(BaseModel):
    """A class that is present in the image."""

    id: int
    name: str
    color: str = Field(description=COLOR)
    display_color: str = Field(description=DISPLAY_COLOR)
    pixels: int
    fraction: float
    mean_confidence: float | None = Field(description="null for a network that gives class ids alone")
    bbox: tuple[int, int, int, int] = Field(description="x, y, width, height")


class RleMap(BaseModel):
    """Class map as COCO's compressed RLE, one string per class id; `pycocotools.mask.decode` reads them."""

    encoding: Literal["rle"]
    size: tuple[int, int] = Field(description="height, width")
    counts: dict[str, str]


class PngMap(BaseModel):
    """Class map as a palette PNG in base64."""

    encoding: Literal["png"]
    data: str


class ArrayMap(BaseModel):
    """Class map as rows of class ids."""

    encoding: Literal["array"]
    data: list[list[int]]


class PolygonMap(BaseModel):
    """Class map as polygons per class id, nested as a GeoJSON MultiPolygon: polygons, rings (holes after the first), points."""

    encoding: Literal["polygons"]
    size: tuple[int, int] = Field(description="height, width")
    tolerance: float = Field(description="how far a point may have moved, in pixels")
    polygons: dict[str, list[list[list[tuple[float, float]]]]]


class ConfidenceMap(BaseModel):
    """Confidence as an 8-bit grey PNG in base64: 255 x the winning class's probability."""

    encoding: Literal["png"]
    data: str


class Tiling(BaseModel):
    """How the image was tiled.

    side: the working size as height, width; the largest if there are several. tile: height, width. tiles: their number.
    """

    side: tuple[int, int]
    tile: tuple[int, int]
    overlap: float
    blend: Blend
    quality: Quality
    tiles: int


class SegmentAnswer(BaseModel):
    """JSON answer of `/segment`; classes are listed largest first."""

    model: ModelName
    image: ImageSize
    classes: list[ClassShare]
    class_map: RleMap | PngMap | ArrayMap | PolygonMap = Field(discriminator="encoding")
    tiling: Tiling
    confidence_map: ConfidenceMap | None = Field(None, description="with confidence=true")


class CocoImage(BaseModel):
    id: int
    file_name: str
    width: int
    height: int
    etag: str | None = Field(None, description="in a batch: as a header of `/segment` says it")
    object_pixels: int | None = Field(None, description="in a batch: pixels of the classes, as a header of `/segment` says it")


class CocoCategory(BaseModel):
    id: int
    name: str
    supercategory: str


class CocoRle(BaseModel):
    """A mask as compressed RLE; `pycocotools.mask.decode` reads it."""

    size: tuple[int, int] = Field(description="height, width")
    counts: str


class CocoAnnotation(BaseModel):
    """A connected region of a class, as polygons (x, y, x, y, ...) or as one mask."""

    id: int
    image_id: int
    category_id: int = Field(ge=1)
    iscrowd: Literal[0]
    segmentation: list[list[float]] | CocoRle
    area: float
    bbox: tuple[float, float, float, float] = Field(description="x, y, width, height")


class CocoInfo(BaseModel):
    description: str


class CocoAnswer(BaseModel):
    """Answer of `/segment` with `format=coco`. `licenses` is empty."""

    info: CocoInfo
    licenses: list[dict[str, Any]]
    images: list[CocoImage]
    categories: list[CocoCategory]
    annotations: list[CocoAnnotation]


class ClassMask(BaseModel):
    """A class in the answer of `/segment` with `format=hf`."""

    label: str
    score: float | None = Field(
        description="the class's mean confidence, 0 to 1; null for a network that gives class ids alone"
    )
    mask: str = Field(description="8-bit grey PNG in base64: 255 where the class is, else 0")


class LabelEntry(BaseModel):
    id: int
    name: str
    color: str = Field(description=COLOR)
    display_color: str = Field(description=DISPLAY_COLOR)


class ModelEntry(ModelName):
    """A network in service."""

    default: bool
    classes: list[LabelEntry]


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class FailedImage(BaseModel):
    """An image of a batch that has no answer."""

    index: int = Field(description="place in the request, from 0")
    file: str
    status: int
    retry_after: int | None = Field(None, description="with status 503: seconds until a new try makes sense")
    problem: ProblemDetails


class CocoBatchAnswer(CocoAnswer):
    """Answer of `/segment/batch` with `format=coco`; the id of an image is its place in the request, from 1."""

    problems: list[FailedImage]


class State(BaseModel):
    """Whether the process works; the reason if it does not."""

    status: Literal["ok", "unavailable"]
    reason: str | None = None


class Health(BaseModel):
    live: State
    ready: State
    device: str | None
    queued_tiles: int
    requests_in_flight: int
    uptime_s: float


class Info(BaseModel):
    """The model in service, its scores and its settings."""

    model: ModelName
    architecture: dict[str, Any]
    license: str
    training: dict[str, Any]
    scores: dict[str, Any]
    preprocessing: dict[str, Any]
    temperature: float | None
    runtime: dict[str, str]
    warning: str | None
    tile: tuple[int, int]
    overlap: float
    blend: Blend
    limits: dict[str, float]
    versions: dict[str, str]
