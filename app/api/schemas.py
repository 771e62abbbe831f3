"""What OpenAPI shows: the JSON of answers, the bodies of requests, and the problems, with examples."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import Annotated, Any, Literal, get_args

from fastapi import FastAPI, Query, Response
from pydantic import BaseModel, Field

from app.api.body import EXAMPLE
from app.api.errors import BATCH_PROBLEMS, MEDIA_TYPE, SEGMENT_PROBLEMS, Problem, Unauthorized, document
from app.api.query import QueryModel
from imaging.encoding import ImageFormat
from imaging.object_facts import OBJECT_HEADERS
from model.inference.tiling import Blend
from model.inference.views import Quality

BYTES = {"schema": {"type": "string", "format": "binary"}}
IMAGE = {"type": "string", "format": "binary", "minLength": 1}
IMAGES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
KEYS = {
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
GEOJSON = {"type": "object", "properties": {"type": {"const": "FeatureCollection"}}, "required": ["type", "features"]}
REMARK = "X-Remark"
"""Of an answer: what was decided about a scene's band that the file wrongly calls alpha, or a photo's doubtful orientation."""
HEADERS = {
    "X-Request-ID": "the request's id",
    "Server-Timing": "milliseconds per stage",
    "ETag": "weak tag of the answer, for `If-None-Match`",
    OBJECT_HEADERS["box"]: "of a cutout: left,top,width,height of its object, or none",
    OBJECT_HEADERS["object_pixels"]: "of other formats that take `classes`: their pixels, by default of all but the background",
    REMARK: "of a scene: a band is no alpha, as the file says; of a photo: an orientation of EXIF turned nothing",
}
REQUEST_ID = "5f2c9b0e4d1a4c7f8a3b6d9e0c1f2a3b"


class ModelName(BaseModel):
    """The network that answered: its name, the sha256 of its weights, its runtime, and its precision."""

    name: str
    sha256: str
    runtime: str
    precision: str


class ImageSize(BaseModel):
    width: int
    height: int


class LabelEntry(BaseModel):
    id: int
    name: str
    color: str = Field(description="#rrggbb, of the label set, the palette PNG, and pictures with palette=labels")
    display_color: str = Field(description="#rrggbb, of pictures with palette=display, the default")


class ClassShare(LabelEntry):
    """A class that is present in the image."""

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
    """A map as a PNG in base64: the class map with a palette."""

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


class Tiling(BaseModel):
    """How the image was tiled.

    side: the working size as height, width; the largest if there are several. tile: height, width. tiles: their number.
    whole: true where the network takes each photo as one tile; else left out.
    """

    side: tuple[int, int]
    tile: tuple[int, int]
    overlap: float
    blend: Blend
    quality: Quality
    tiles: int
    whole: bool | None = None


class SegmentAnswer(BaseModel):
    """JSON answer of `/segment`; classes are listed largest first."""

    model: ModelName
    image: ImageSize
    classes: list[ClassShare]
    class_map: RleMap | PngMap | ArrayMap | PolygonMap = Field(discriminator="encoding")
    tiling: Tiling
    confidence_map: PngMap | None = Field(None, description="with confidence=true: grey, 255 x the winning class's probability")


class CocoAnswer(BaseModel):
    """Answer with `format=coco`: a document of object instances as cocodataset.org describes it. `licenses` is empty.

    In a batch, the id of an image is its place in the request, from 1, and `problems` has the images that have no answer.
    """

    info: dict[str, str]
    licenses: list[Any]
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    problems: list[dict[str, Any]] | None = None


class ClassMask(BaseModel):
    """A class in the answer of `/segment` with `format=hf`."""

    label: str
    score: float | None = Field(
        description="the class's mean confidence, 0 to 1; null for a network that gives class ids alone"
    )
    mask: str = Field(description="8-bit grey PNG in base64: 255 where the class is, else 0")


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


def problem_responses(kinds: Sequence[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these problems, each with an example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        alike = [each for each in kinds if each.status == kind.status]
        examples = {each.name: {"value": document(each, each.example, REQUEST_ID)} for each in alike}
        responses[kind.status] = {
            "description": ", or: ".join(each.title for each in alike),
            "content": {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema(), "examples": examples}},
        }
    return responses


def segment_responses() -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of `/segment`."""
    files = (*(f"image/{kind}" for kind in get_args(ImageFormat)), "image/tiff", "application/x-npz")
    success = {
        "description": "The mask: a PNG of the image's size, or JSON; with `color` and `overlay` also JPEG or WebP.",
        "model": SegmentAnswer | CocoAnswer | list[ClassMask],
        "content": {"application/geo+json": {"schema": GEOJSON}} | dict.fromkeys(files, BYTES),
        "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()},
    }
    return {200: success} | problem_responses(SEGMENT_PROBLEMS)


def with_keys(document: dict[str, Any], *, all_routes: bool) -> dict[str, Any]:
    """Adds the two ways to send a key to a copy of the OpenAPI document.

    They go to the POST routes, those of X-AnyLabeling and, with `all_routes`, to every route that may answer 401.
    """
    document = deepcopy(document)
    document["components"]["securitySchemes"] = KEYS
    for operations in document["paths"].values():
        for method, operation in operations.items():
            asks = all_routes or "X-AnyLabeling" in operation.get("tags", ())
            if method == "post" or (asks and str(Unauthorized.status) in operation["responses"]):
                operation["security"] = [{name: []} for name in KEYS]
    return document


@cache
def query_document(model: type[BaseModel] = QueryModel) -> list[dict[str, Any]]:
    """The query parameters of `/segment`, or of another model, as FastAPI describes those of a route."""

    async def described(query: Any) -> None:
        """Is never called."""

    described.__annotations__["query"] = Annotated[model, Query()]
    app = FastAPI()
    app.add_api_route("/", described)
    parameters: list[dict[str, Any]] = app.openapi()["paths"]["/"]["get"]["parameters"]
    return parameters


def request_body(file: dict[str, Any], others: dict[str, Any], field: str = "file") -> dict[str, Any]:
    """OpenAPI request body: a form with this field, or one of the other media types."""
    form = {"type": "object", "properties": {field: file}, "required": [field]}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}} | others}


def upload_body(field: str = "file") -> dict[str, Any]:
    """OpenAPI query and request body of `/segment`: a form with this field, the raw image, or JSON with `inputs`."""
    document = {
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {
            "inputs": {"type": "string", "format": "byte", "minLength": 4, "description": "the image in base64"},
            "parameters": {"type": "object", "description": "names and values of the query"},
        },
    }
    raw, json_image = {"schema": IMAGE}, {"schema": document, "example": EXAMPLE}
    others = {"image/*": raw, "application/octet-stream": raw, "application/json": json_image}
    return {"parameters": query_document(), "requestBody": request_body(IMAGE, others, field)}


SEGMENT_ROUTE: dict[str, Any] = {
    "response_class": Response, "response_model": None, "responses": segment_responses(), "openapi_extra": upload_body(),
}  # fmt: skip
"""What OpenAPI shows of a route that answers as `/segment`."""

BATCH_ROUTE: dict[str, Any] = {
    "response_class": Response, "response_model": None,
    "openapi_extra": {"parameters": query_document(), "requestBody": request_body(IMAGES, {})},
    "responses": {200: {
        "description": "A line of JSON for each image (`index`, `file`, `status`, `answer` or `problem`), one COCO document, "
        "or a zip of masks that ends with `results.jsonl`.",
        "model": CocoAnswer,
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}, "application/zip": BYTES},
    }} | problem_responses(BATCH_PROBLEMS),
}  # fmt: skip
"""The same of `/segment/batch`."""
