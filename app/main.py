"""Builds the app, `create_app(settings)`, and runs it as the command `fcn-serve`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from app.api import batch, segment, state
from app.api import jobs as jobs_api
from app.api.errors import install_handlers
from app.api.job_upload import MEMORY_BYTES
from app.api.page import mount_page
from app.api.schemas import REMARK
from app.api.security import SECURITY_HEADERS, ProblemCORSMiddleware
from app.connections import ConnectionMiddleware
from app.interop import sagemaker, torchserve, x_anylabeling
from app.interop.vertex_ai import vertex_ai_router
from app.middleware import POLLED_PATHS, Refusals, RequestTelemetry
from app.platform_variables import SAGEMAKER_PORT
from app.server import serve
from app.serving.job_photos import segment_photos
from app.serving.jobs.callbacks import Callbacks
from app.serving.jobs.runner import JobRunner, Work
from app.serving.jobs.scenes import segment_scene
from app.serving.jobs.store import JobStore
from app.serving.service import Service
from app.serving.webhook import Webhooks
from app.settings import Settings, read_settings
from app.telemetry import configure_logging
from app.variables import PREFIX, SettingsError, kubernetes_variables, use_temporary_folder
from common.command_line import CommandParser, package_version
from imaging.object_facts import OBJECT_HEADERS

TITLE = "fcn-segment"
SUMMARY = "Semantic segmentation over HTTP: an image goes in, a mask of exactly the same size comes out."
SAGEMAKER_ARGUMENT = "serve"  # SageMaker starts a container with it
log = logging.getLogger("segment")
PLATFORMS = {"sagemaker": lambda _: sagemaker.router, "vertex_ai": vertex_ai_router}


def create_app(settings: Settings) -> FastAPI:
    """The app with these settings, which loads models when it starts. Raises `OSError` for an unusable folder of jobs."""
    service = Service(settings)
    jobs: JobRunner | None = None
    if settings.jobs_dir:
        places = service.background.most_bodies // MEMORY_BYTES
        service.jobs = JobStore(settings.jobs_dir, settings.jobs_mb * 1e6, settings.jobs_days, service.clients, places)
        photos = partial(segment_photos, service, partial(jobs_api.photo_task, service))
        work: dict[bool, Work] = {True: partial(segment_scene, settings), False: photos}
        jobs = JobRunner(service.jobs, service.registry, work, lambda: service.ending)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start(asyncio.get_running_loop().call_soon_threadsafe)
        if jobs:
            webhooks = Webhooks(settings.callback_origins, settings.callback_secret)
            callbacks = Callbacks(jobs, webhooks, partial(jobs_api.document, settings.root_path))
            jobs.start()
        else:
            log.info("jobs are off; SEGMENT_JOBS_DIR=FOLDER turns them on")
        yield
        if jobs:
            await callbacks.stop()
            await jobs.stop(in_order=not service.failure)
        await service.stop()

    app = FastAPI(
        title=TITLE, summary=SUMMARY, version=package_version(), lifespan=lifespan,
        openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.service, app.state.jobs = service, jobs
    routers = [segment.router, batch.router, *([jobs_api.router] if jobs else []), x_anylabeling.router, torchserve.router]
    if make_router := PLATFORMS.get(settings.platform):
        routers.insert(0, make_router(settings))  # before the others, so that a path of the platform is the platform's
    for router in routers:
        app.include_router(router)
    if not jobs:
        app.include_router(jobs_api.off_router)
    app.include_router(state.router, tags=["state"])
    mount_page(app)
    install_handlers(app)
    # the middleware added last is the outermost: it sees a request first
    app.add_middleware(Refusals, service=service, routes=[route for router in routers for route in router.routes])
    if settings.cors_origins:
        app.add_middleware(
            ProblemCORSMiddleware, allow_origins=settings.cors_origins, allow_headers=["*"],
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            expose_headers=[
                "X-Request-ID", "Location", "Server-Timing", "Retry-After", "ETag", *OBJECT_HEADERS.values(), REMARK,
                "Content-Range", "Content-Disposition",
            ],
        )  # fmt: skip
    app.add_middleware(RequestTelemetry, metrics=service.metrics, polled_paths={*POLLED_PATHS, settings.vertex_health_route})
    app.add_middleware(ConnectionMiddleware, clients=service.clients, ending=service.is_ending, headers=SECURITY_HEADERS)
    return app


def parser() -> argparse.ArgumentParser:
    """The parser of the command line. Its help lists every setting."""
    settings = [
        f"  {PREFIX}{name.upper():<18} {' '.join(str(field.description).split())} (default: {default(field.default) or 'none'})"
        for name, field in Settings.model_fields.items()
    ]
    sagemaker = f"with the argument `{SAGEMAKER_ARGUMENT}`: serves SageMaker's routes, on port {SAGEMAKER_PORT}"
    return CommandParser(
        "fcn-serve", hint="settings are variables: ", description=SUMMARY, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join([sagemaker, "\nsettings, from the environment and a .env file:", *settings]),
    )  # fmt: skip


def default(value: object) -> str:
    """A setting's default as it is written in a variable; empty if there is none."""
    return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    is_for_sagemaker = arguments == [SAGEMAKER_ARGUMENT]
    if not is_for_sagemaker:
        parser().parse_args(arguments)
    try:
        settings = read_settings(platform="sagemaker") if is_for_sagemaker else read_settings()
        has_room = use_temporary_folder()
    except SettingsError as error:
        for line in str(error).split("\n"):
            print(f"fcn-serve: {line}", file=sys.stderr)
        return 2
    configure_logging(settings.log_format, settings.log_level)
    if not has_room:
        log.warning("TMPDIR %s is full: requests that need it get 503", os.environ["TMPDIR"])
    if names := kubernetes_variables(os.environ):
        advice = "set `enableServiceLinks: false` in the pod"
        log.warning("ignored Kubernetes' variables %s; the port is %d; %s", ", ".join(names), settings.port, advice)
    try:
        app = create_app(settings)
    except OSError as error:
        print(f"fcn-serve: SEGMENT_JOBS_DIR: {error}", file=sys.stderr)
        return 2
    return serve(app)
