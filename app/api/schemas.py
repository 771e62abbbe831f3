"""Query parameters and JSON answers, as OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from imaging.encoding import ImageFormat
from imaging.rendering import Format, MaskEncoding, PaletteName, Topology, formats_with
from model.inference.scaling import SIDES
from model.inference.small_regions import AREA_PATTERN, AREA_WORDS
from model.inference.tiling import Blend
from model.inference.views import Quality

MOST_CHARACTERS = 4096  # of a parameter, which may come in a body, too
COLOR = "#rrggbb, of the label set, the palette PNG, and pictures with palette=labels"
DISPLAY_COLOR = "#rrggbb, of pictures with palette=display, the default"
AreaText = Annotated[
    str,
    Field(pattern=f"^{AREA_PATTERN}$", description=AREA_WORDS, examples=["200", "0.1%"]),
    BeforeValidator(lambda value: str(value) if type(value) is int else value),  # from JSON
]


class SegmentQuery(BaseModel):
    """Query parameters of `/segment`."""

    format: Format | None = Field(None, description="form of the answer; beats `Accept` (default: png)")
    mask: MaskEncoding = Field(
        "rle",
        description="with JSON: how the class map is written (array: up to 4 megapixels); "
        "with coco: polygons, or run lengths for every other value",
    )
    blend: Blend | None = Field(None, description="how overlapping logits are averaged (default: the server's)")
    overlap: float | None = Field(None, ge=0, le=0.5, description="fraction of a tile shared with its neighbour")
    side: Literal["auto", "native"] | Annotated[int, Field(ge=SIDES[0], le=SIDES[1])] = Field(
        "auto",
        description="size to work at: `native`, the longer side in pixels, or `auto` (the range that the weights advise)",
    )
    quality: Quality = Field(
        "standard", description="`high`: averages three sizes and their mirror images; about eight times the work"
    )
    alpha: float = Field(0.5, ge=0, le=1, description="opacity of the colours in an overlay")
    confidence: bool = Field(False, description="with JSON: adds the confidence map, a grey PNG")
    probabilities: bool = Field(False, description="with npz: adds every class's probability; up to 4 megapixels")
    min_confidence: float = Field(
        0, ge=0, le=1, description=f"pixels with less confidence become 255, void; with {formats_with('min_confidence')}"
    )
    min_area: AreaText | None = Field(
        None,
        description="regions smaller than this take the class of a neighbour that fits best: pixels (`200`), or a share of "
        "the image (`0.1%`)",
    )
    fill_holes: AreaText | None = Field(
        None, description="holes smaller than this take the class around them: pixels, or a share of the image"
    )
    classes: str | None = Field(
        None,
        max_length=MOST_CHARACTERS,
        description="comma-separated names or ids of the classes that the answer shows (default: all; overlay, cutout, binary "
        f"and coco: all but the background); with {formats_with('classes')}",
    )
    image_format: ImageFormat | None = Field(
        None, description="image format of color and overlay; beats `Accept` (default: png)"
    )
    palette: PaletteName = Field(
        "display", description="colours of color and overlay: made to be told apart, or those of the label set"
    )
    names: bool = Field(True, description="with overlay: writes the classes' names on the regions")
    threshold: float = Field(0, ge=0, le=1, description="with hf: classes of a lower score are left out")
    mask_threshold: float = Field(
        0, ge=0, le=1, description="with hf: pixels of less confidence are in no mask, as with `min_confidence`"
    )
    subtask: Literal["semantic"] = Field("semantic", description="with hf: the only task of these models")
    tolerance: float = Field(1.0, ge=0, le=100, description="with polygons: how far a point may move, in image pixels")
    topology: Topology | None = Field(
        None, description="with polygons: neighbours share their borders, without gaps (default: each is simplified for itself)"
    )
    model: str | None = Field(None, max_length=MOST_CHARACTERS, description="a model of `/models` (default: the first)")


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
    mean_confidence: float
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
    score: float = Field(description="the class's mean confidence, 0 to 1")
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
