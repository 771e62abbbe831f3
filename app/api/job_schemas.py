"""The parameters of `/jobs`, and what OpenAPI shows of its routes."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, Field

from app.api.errors import (
    BadParameter,
    BadRequest,
    EmptyBody,
    Forbidden,
    InsufficientStorage,
    NotFound,
    RangeNotSatisfiable,
    TooLarge,
    Unauthorized,
    Unavailable,
    Undecodable,
    UnsupportedType,
    UploadTooSlow,
)  # fmt: skip
from app.api.query import QUERY_PARAMETERS, model_of
from app.api.schemas import BYTES, IMAGE, CocoAnswer, problem_responses, query_document, request_body
from app.serving.jobs.job import MEDIA_TYPES, Status
from app.serving.jobs.job import OUTPUT as OUTPUT_PATTERN
from imaging.parameters import Parameter
from model.inference.scenes.request import SCENE, SQUARE_METRES
from model.inference.small_regions import AREA_PATTERN

PROCESS = "segment"
OUTPUT = Parameter(
    name="output",
    type=str,
    help="what becomes of a scene: `tif`, `cog`, `gpkg`, `geojson` or several (`tif,gpkg`); of photos: `zip`, `coco`, `jsonl`",
    values=f"one of {', '.join(MEDIA_TYPES)}; of a scene also several, such as tif,gpkg",
    pattern=f"({OUTPUT_PATTERN})",
    examples=("tif", "tif,gpkg"),
)
# no check of the text quotes an address; `parse_address` has the limit
SUCCESS = Parameter(name="successUri", type=str, most=1 << 31, help="address that is called once the job is successful")
FAILED = Parameter(name="failedUri", type=str, most=1 << 31, help="address that is called once the job has failed")
LIMIT = Parameter(name="limit", type=int, default=20, least=1, most=100, help="most jobs of a page")
OFFSET = Parameter(name="offset", type=int, default=0, least=0, most=1_000_000, help="jobs before the page")
MIN_AREA = replace(
    QUERY_PARAMETERS["min_area"],
    pattern=f"(?:{AREA_PATTERN}|{SQUARE_METRES})",
    values="an area such as 200, 0.1% or, of scenes, 5m2",
)
OWN = (OUTPUT, SUCCESS, FAILED, MIN_AREA, *SCENE.values())
JOB_PARAMETERS = QUERY_PARAMETERS | {each.name: each for each in OWN}
JOB_MODEL = model_of("JobModel", "Query parameters of `/jobs`.", JOB_PARAMETERS)
"""Checks the parameters of a job."""
PAGE_PARAMETERS = {each.name: each for each in (LIMIT, OFFSET)}
PAGE_MODEL = model_of("PageModel", "Query parameters of the list of jobs.", PAGE_PARAMETERS)


class Link(BaseModel):
    href: str
    rel: str
    type: str


class ResultLink(Link):
    """title: the output."""

    title: str


class Results(BaseModel):
    links: list[ResultLink]


class JobStatus(BaseModel):
    """The state of a job: what OGC calls a statusInfo."""

    job_id: str = Field(serialization_alias="jobID")
    type: str = "process"
    process_id: str = Field(PROCESS, serialization_alias="processID")
    status: Status
    progress: int
    message: str
    created: str
    started: str | None
    finished: str | None
    updated: str
    links: list[Link]


class JobPage(BaseModel):
    jobs: list[JobStatus]
    links: list[Link]


UNKNOWN_JOB = problem_responses([Unauthorized, Forbidden, NotFound])
RESULT = problem_responses([BadRequest, Unauthorized, NotFound, RangeNotSatisfiable])
FILES = {media_type: BYTES for output, (_, media_type) in MEDIA_TYPES.items() if output != "coco"}
RESULTS = RESULT | {200: {"description": "The file, or links to several.", "content": FILES, "model": Results | CocoAnswer}}
SENDING = problem_responses([
    BadRequest, EmptyBody, Unauthorized, Forbidden, UploadTooSlow, TooLarge, UnsupportedType, Undecodable, BadParameter,
    Unavailable, InsufficientStorage,
])  # fmt: skip
BODY = request_body({"type": "array", "items": IMAGE, "minItems": 1}, {"application/octet-stream": {"schema": IMAGE}})
SUBMISSION = {"parameters": query_document(JOB_MODEL), "requestBody": BODY}
PAGE = {"parameters": query_document(PAGE_MODEL)}
