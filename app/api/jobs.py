"""`/jobs`: work that outlives a request, in the words of OGC API - Processes (18-062r2, section 7).

A job belongs to the key that sent it. Nobody else learns that it is there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import FileResponse

from app.api.body import DEFAULT_NAME, RequestBody
from app.api.errors import BadParameter, BadRequest, NotFound, Undecodable, UnsupportedType, explain
from app.api.job_schemas import (
    FAILED,
    JOB_MODEL,
    JOB_PARAMETERS,
    OUTPUT,
    PAGE,
    PAGE_MODEL,
    PAGE_PARAMETERS,
    PROCESS,
    RESULT,
    RESULTS,
    SENDING,
    SUBMISSION,
    SUCCESS,
    UNKNOWN_JOB,
    JobPage,
    JobStatus,
    Link,
    ResultLink,
    Results,
)
from app.api.job_upload import MOST_S, receive_upload
from app.api.query import QUERY_PARAMETERS, Query, form_values, make_options, with_values
from app.api.result_response import ResultResponse
from app.api.security import check_key
from app.api.segment import Ready, named_tags, while_connected
from app.serving.admission import Reservation
from app.serving.errors import NotServing, ResultMissing
from app.serving.job_photos import write_names
from app.serving.jobs.job import AREA, MEDIA_TYPES, WORK, Job, available_outputs, now, upload_path
from app.serving.jobs.runner import JobRunner
from app.serving.jobs.scenes import plan_scene, scene_requests
from app.serving.jobs.store import GONE
from app.serving.photos import PhotoTask
from app.serving.registry import Model
from app.serving.service import Service
from app.serving.webhook import parse_address
from app.settings import Settings
from common.printable import excerpt, printable
from imaging.classes import object_ids
from imaging.decoding import IMAGE_FORMATS
from imaging.formats.signatures import UNKNOWN, format_of
from imaging.georeferenced import BOX, BOX_WORDS
from imaging.rendering import parse_classes
from model.inference.plan import MODEL
from model.inference.scenes.request import KINDS, SceneRequest, scene_parameters

CALLBACKS = {SUCCESS.name, FAILED.name}
ANY = {MODEL.name, OUTPUT.name} | CALLBACKS
FORMATS = {"zip": "png", "coco": "coco", "jsonl": "json"}
"""The format of a photo's answer by the job's output, unless the request names one."""
RESULTS_RELATION = "http://www.opengis.net/def/rel/ogc/1.0/results"
JSON = "application/json"
SIGNATURE_BYTES = 256
router = APIRouter(tags=["jobs"])
off_router = APIRouter(include_in_schema=False)


@off_router.api_route("/jobs", methods=["GET", "POST"])
@off_router.api_route("/jobs/{path:path}", methods=["GET", "DELETE"])
async def jobs_off() -> None:
    """What a service without a folder for jobs answers. Raises `NotFound`."""
    raise NotFound("jobs are off; the operator can turn them on: set SEGMENT_JOBS_DIR to a folder for them")


async def jobs_of(request: Request) -> JobRunner:
    """The jobs of the service. Raises `NotServing` until they are read."""
    jobs: JobRunner = request.app.state.jobs
    if not jobs.store.is_loaded:
        raise NotServing("starting: the jobs of the folder are being read", "starting")
    return jobs


async def owner_of(request: Request) -> str:
    """Whose jobs a client may see. Raises `Unauthorized`."""
    return check_key(request, request.app.state.service.registry.api_keys)


Jobs = Annotated[JobRunner, Depends(jobs_of)]
Owner = Annotated[str, Depends(owner_of)]


async def own_job(id: str, jobs: Jobs, owner: Owner) -> Job:
    """The job of this id, if the client may see it. Raises `Unauthorized` or `NotFound`."""
    if job := jobs.store.get(id, owner):
        return job
    raise NotFound(f"there is no job {printable(id, 64)} of yours")


OwnJob = Annotated[Job, Depends(own_job)]


@router.post(
    "/jobs", summary="Send work that outlives the request", status_code=201, responses=SENDING, openapi_extra=SUBMISSION
)
async def submit(request: Request, response: Response, jobs: Jobs, service: Ready, owner: Owner) -> JobStatus:
    """Takes a GeoTIFF, or a form with many photos, and answers the job at once. `output` says what its result is."""
    query = with_values({}, request.query_params.multi_items(), "query", JOB_PARAMETERS, JOB_MODEL)
    reservation, length = request.state.reservation, request.headers.get("content-length", "")
    client = reservation.sender
    memory = reservation.enter_context(Reservation(service.background, client, request.state.client))  # none of requests
    body = RequestBody(request, service, service.settings.job_upload_mb, "SEGMENT_JOB_UPLOAD_MB", MOST_S, memory)
    if "output" in query:
        _check(query, service)
    count = int(length) if length.isdecimal() else 0
    async with jobs.store.upload(owner or client, count, request.state.client) as (id, folder):
        turn = partial(jobs.store.uploads.turn, owner or client)
        names, fields, size = await receive_upload(body, folder, partial(jobs.store.check_room, id), turn)
        body.set_memory(0)  # it is on the disk
        query = form_values(query, fields, JOB_PARAMETERS, JOB_MODEL)
        _check(query, service)
        with service.registry.using(query.get("model")) as model:
            parameters = {name: value for name, value in query.items() if name not in ANY}
            if not BOX.fullmatch(extent := parameters.get("extent", "")) and extent:
                parameters["extent"] = AREA
                await asyncio.to_thread((folder / WORK / AREA).write_text, extent, "utf-8")
            sha256 = model.segmenter.runtime.identity.sha256
            job = Job(id, owner, client, query["output"], parameters, model.name, sha256, created=now())
            job.success_uri, job.failed_uri = (query.get(each.name, "") for each in (SUCCESS, FAILED))
            scene = job.is_scene and _check_scene(job, folder, names, jobs, service.settings, model)
            await while_connected(request, scene or _check_photos(job, folder, names, jobs, model))
        await jobs.submit(job)
    request.state.answer_fields = {"job": job.id, "output": job.output, "files": len(names), "bytes": size}
    response.headers["Location"] = f"{_address(request)}/{job.id}"
    return _status(_address(request), job)


@router.get("/jobs", summary="Your jobs, the newest first", responses=UNKNOWN_JOB, openapi_extra=PAGE)
async def list_jobs(request: Request, jobs: Jobs, owner: Owner) -> JobPage:
    """A page of the jobs of the request's key. Without keys it is 404, since all clients are then the same."""
    if not owner:
        raise NotFound("jobs are listed for clients with a key of their own; ask for /jobs/ID")
    page = {name: parameter.default for name, parameter in PAGE_PARAMETERS.items()} | dict(
        with_values({}, request.query_params.multi_items(), "query", PAGE_PARAMETERS, PAGE_MODEL)
    )
    own, count = jobs.store.page(owner, page["offset"], page["limit"])
    offsets = {"self": page["offset"], "next": page["offset"] + page["limit"]}
    address = f"{_address(request)}?limit={page['limit']}&offset="
    links = [_link(f"{address}{offset}", each) for each, offset in offsets.items() if each == "self" or offset < count]
    return JobPage(jobs=[_status(_address(request), job) for job in own], links=links)


@router.get("/jobs/{id}", summary="The state of a job", responses=UNKNOWN_JOB)
async def job_status(request: Request, job: OwnJob) -> JobStatus:
    return _status(_address(request), job)


@router.get("/jobs/{id}/results", summary="The results of a job", response_model=None, responses=RESULTS)
async def job_results(request: Request, job: OwnJob, jobs: Jobs) -> Response | Results:
    """The file, also in parts (`Range`), or links to those of several outputs. 404 until the job is successful."""
    if job.output in job.results or job.status != "successful":
        return await job_result(job.output, request, job, jobs)
    address = f"{_address(request)}/{job.id}/results"
    return Results(
        links=[
            ResultLink(href=f"{address}/{output}", rel="item", type=MEDIA_TYPES[output][1], title=output)
            for output in job.results
        ]
    )


@router.get("/jobs/{id}/results/{output}", summary="One of a job's results", response_class=FileResponse, responses=RESULT)
async def job_result(output: str, request: Request, job: OwnJob, jobs: Jobs) -> Response:
    """The file of this output, also in parts (`Range`). 404 until the job is successful."""
    if job.status != "successful":
        raise ResultMissing(f"the job is {job.status}, and has no result: {job.message}")
    if output not in job.results:
        raise ResultMissing(f"the job has no result {printable(output, 64)}; it has {', '.join(job.results)}")
    suffix, media_type = MEDIA_TYPES[output]
    tag = f'"{hashlib.sha256(f"{job.id} {job.finished}".encode()).hexdigest()[:32]}"'
    if named_tags(request.headers) & {tag, "*"}:
        return Response(status_code=304, headers={"ETag": tag})
    path, name = jobs.store.folder(job) / job.results[output], f"{PROCESS}-{job.id[:8]}{suffix}"
    with suppress(FileNotFoundError):
        if S_ISREG((status := path.lstat()).st_mode):  # a process that a scene took over could have written a link
            reading = jobs.store.reading(job, request.state.client)
            headers = {"ETag": tag}
            return ResultResponse(reading, path, headers=headers, media_type=media_type, filename=name, stat_result=status)
    raise ResultMissing(GONE)


@router.delete(
    "/jobs/{id}", summary="Dismiss a job, or remove one that has ended", response_model=JobStatus, responses=UNKNOWN_JOB
)
async def delete_job(request: Request, job: OwnJob, jobs: Jobs) -> Response | JobStatus:
    """Ends a job that is accepted or running, and answers its last state; or removes one that has ended (204). It is gone."""
    was_open = job.is_open
    await jobs.remove(job)
    return _status(_address(request), job) if was_open else Response(status_code=204)


def _check(query: Query, service: Service) -> None:
    """Raises `BadParameter`, or what `make_options` raises, for what does not go with the output."""
    if "output" not in query:
        raise BadParameter("query output: is missing; give one of tif, cog, gpkg, geojson (a scene), zip, coco, jsonl (photos)")
    outputs = (output := query["output"]).split(",")
    endings = [MEDIA_TYPES[each][0] for each in outputs]
    is_scene = set(endings) <= KINDS.keys()
    if len(set(endings)) < len(endings):
        raise BadParameter(f"output={excerpt(output)}: two of them would have the same content; leave one out")
    own_names = scene_parameters(map(KINDS.get, endings)) if is_scene else QUERY_PARAMETERS
    if others := [name for name in query if name not in ANY | own_names.keys()]:
        raise BadParameter(f"{others[0]}: does not go with output={output}; leave it out")
    for name in CALLBACKS & query.keys():
        try:
            parse_address(query[name], service.settings.callback_origins)
        except ValueError as error:
            raise BadParameter(f"{name}: {error}") from None
    service.registry.get(query.get("model"))
    if not set(outputs) <= set(available := available_outputs()):
        advice = f"give one of {', '.join(available)} (photos); the operator can install the extra geo"
        raise BadParameter(f"output={output} needs rasterio and pyogrio, which the service lacks; {advice}")
    if is_scene:
        extent = query.get("extent", "{")
        if not (extent.removeprefix("\ufeff").lstrip().startswith("{") or BOX.fullmatch(extent)):  # else it would be a path
            raise BadParameter(f"extent: must be GeoJSON, in a field of a form, or {BOX_WORDS}, got {excerpt(extent)}")
        try:
            for ending in endings:
                SceneRequest.of("", f"scene{ending}", query)
        except ValueError as error:
            raise BadParameter(str(error)) from error
        return
    own = {name: value for name, value in query.items() if name not in {OUTPUT.name, *CALLBACKS}}
    form = own.setdefault("format", FORMATS[output])
    fitting = {"coco": form == "coco", "jsonl": form in ("json", "hf"), "zip": form not in ("coco", "json", "hf")}
    if not fitting[output]:
        raise BadParameter(f"format={form} does not go with output={output}; leave it out")
    make_options(service.settings, own, DEFAULT_NAME)


def photo_task(service: Service, job: Job) -> PhotoTask:
    """What a job asks of its photos. Raises as `make_options`."""
    options = make_options(service.settings, {"format": FORMATS[job.output], **job.parameters}, DEFAULT_NAME)
    return PhotoTask(options, job.model, {"job": job.id}, partial(explain, service, job.id), is_background=True)


async def _check_scene(job: Job, folder: Path, names: Sequence[str], jobs: JobRunner, settings: Settings, model: Model) -> None:
    """Raises a problem for files that are not one scene, and as `plan_scene`."""
    if len(names) > 1:
        raise BadRequest(f"output={job.output} takes one scene, got {len(names)} files; send them in several jobs")
    if (form := await asyncio.to_thread(_format, folder, 0)) not in ("TIFF", UNKNOWN):
        advice = "send a GeoTIFF, or photos with output=zip, coco or jsonl"
        raise UnsupportedType(f"the file is not read as a scene, for output={job.output}: it is {form}; {advice}")
    try:
        async with jobs.planning(job.account):
            await plan_scene(scene_requests(job, folder, settings), folder, model)
    except ConnectionError as error:
        raise Undecodable("the scene is damaged, or needs too much memory or time to be opened; write it again") from error


async def _check_photos(job: Job, folder: Path, names: Sequence[str], jobs: JobRunner, model: Model) -> None:
    """Keeps the photos' names. Raises a problem for a class that the model lacks, and for files of which none is a photo."""
    object_ids(parse_classes(job.parameters.get("classes", "")), model.segmenter.labels.classes)
    async with jobs.store.uploads.turn(job.account):
        if not await asyncio.to_thread(lambda: any(_format(folder, index) != UNKNOWN for index in range(len(names)))):
            raise UnsupportedType(f"none of the files is an image that is read: {', '.join(IMAGE_FORMATS)}")
    await asyncio.to_thread(write_names, folder, names)


def _format(folder: Path, index: int) -> str:
    with upload_path(folder, index).open("rb") as file:
        return format_of(file.read(SIGNATURE_BYTES))


def document(root_path: str, job: Job) -> bytes:
    """A job's state as JSON, as its route answers it. root_path: under which a proxy serves the service."""
    return _status(f"{root_path}/jobs", job).model_dump_json(by_alias=True).encode()


def _status(jobs: str, job: Job) -> JobStatus:
    """jobs: the path of `/jobs`."""
    address = f"{jobs}/{job.id}"
    links = [_link(address, "self")]
    if job.status == "successful":
        links.append(_link(f"{address}/results", RESULTS_RELATION, MEDIA_TYPES.get(job.output, ("", JSON))[1]))
    facts = {name: getattr(job, name) for name in JobStatus.model_fields if hasattr(job, name)}
    return JobStatus(job_id=job.id, links=links, **facts)


def _link(address: str, relation: str, media_type: str = JSON) -> Link:
    return Link(href=address, rel=relation, type=media_type)


def _address(request: Request) -> str:
    """The path of `/jobs`, which a proxy may have moved."""
    return f"{request.scope.get('root_path', '')}/jobs"
