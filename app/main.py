"""Builds the app, `create_app(settings)`, and runs it as the command `fcn-serve`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.api import batch, segment, state
from app.api.errors import install_handlers
from app.api.page import mount_page
from app.api.query import words
from app.api.schemas import REMARK
from app.api.security import SECURITY_HEADERS, ProblemCORSMiddleware
from app.environment import PREFIX, UnknownSetting, WrongVariable
from app.exchange import ConnectionMiddleware
from app.interop.sagemaker import sagemaker_router
from app.interop.vertex_ai import vertex_ai_router
from app.middleware import POLLED_PATHS, LoadShedding, RequestTelemetry, UnexpectedErrors
from app.platform_variables import SAGEMAKER_PORT, WrongPort
from app.server import serve
from app.serving.service import Service
from app.settings import Settings, ignored_variables
from app.sources import UnreadLines
from app.telemetry import configure_logging, excerpt
from imaging.object_facts import OBJECT_HEADERS
from model.command_line import CommandParser, package_version

TITLE = "fcn-segment"
SUMMARY = "Semantic segmentation over HTTP: an image goes in, a mask of exactly the same size comes out."
SAGEMAKER_ARGUMENT = "serve"  # SageMaker starts a container with it
log = logging.getLogger("segment")
SHED_ROUTES = ((segment.router, "segment_image"), (batch.router, "segment_batch"))
PLATFORMS = {"sagemaker": sagemaker_router, "vertex_ai": vertex_ai_router}


def create_app(settings: Settings) -> FastAPI:
    """The app with these settings. The models are loaded when the app starts."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start(asyncio.get_running_loop().call_soon_threadsafe)
        yield
        await service.stop()

    app = FastAPI(
        title=TITLE, summary=SUMMARY, version=package_version(), lifespan=lifespan,
        openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    paths, polled_paths = {router.url_path_for(name) for router, name in SHED_ROUTES}, set(POLLED_PATHS)
    if make_router := PLATFORMS.get(settings.platform):
        platform = make_router(settings)
        app.include_router(platform)  # before the others, so that a path of the platform is the platform's
        paths.add(platform.url_path_for("platform_predict"))
        polled_paths.add(platform.url_path_for("platform_health"))
    app.include_router(segment.router, tags=["segmentation"])
    app.include_router(batch.router, tags=["segmentation"])
    app.include_router(state.router, tags=["state"])
    mount_page(app)
    install_handlers(app)
    # the middleware added last is the outermost: it sees a request first
    app.add_middleware(LoadShedding, service=service, paths=tuple(paths))
    app.add_middleware(UnexpectedErrors, service=service)
    if settings.cors_origins:
        app.add_middleware(
            ProblemCORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["GET", "POST"], allow_headers=["*"],
            expose_headers=["X-Request-ID", "Server-Timing", "Retry-After", "ETag", *OBJECT_HEADERS.values(), REMARK],
        )  # fmt: skip
    app.add_middleware(RequestTelemetry, metrics=service.metrics, polled_paths=polled_paths)
    app.add_middleware(ConnectionMiddleware, clients=service.clients, ending=service.is_ending, headers=SECURITY_HEADERS)
    return app


def parser() -> argparse.ArgumentParser:
    """The parser of the command line. Its help lists every setting."""
    settings = [
        f"  {PREFIX}{name.upper():<18} {field.description} (default: {_default(field.default)})"
        for name, field in Settings.model_fields.items()
    ]
    epilog = (
        f"with the argument `{SAGEMAKER_ARGUMENT}`: serves SageMaker's routes, on port {SAGEMAKER_PORT}\n\n"
        "settings, from the environment and a .env file:\n" + "\n".join(settings)
    )
    return CommandParser(
        "fcn-serve", hint="settings are variables: ", description=SUMMARY, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _default(value: object) -> str:
    return str(value) if value not in ("", ()) else "none"


def _explanation(entry: ErrorDetails) -> str:
    """What is wrong with a setting's value: our own words, or the values that it accepts."""
    if own := entry.get("ctx", {}).get("error"):
        return str(own)
    return f"must be {words(Settings.model_json_schema()['properties'][str(entry['loc'][0])])}"


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    for_sagemaker = arguments == [SAGEMAKER_ARGUMENT]
    if not for_sagemaker:
        parser().parse_args(arguments)
    try:
        with UnreadLines():  # the error says them
            settings = Settings(platform="sagemaker") if for_sagemaker else Settings()
    except (UnknownSetting, WrongPort, WrongVariable) as error:
        for line in str(error).splitlines():
            print(f"fcn-serve: {line}", file=sys.stderr)
        return 2
    except UnicodeDecodeError:
        print("fcn-serve: .env is not UTF-8; save it in this encoding, or remove it", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"fcn-serve: {error.filename or '.env'} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except ValidationError as error:
        for entry in error.errors():
            name = PREFIX + "_".join(str(part) for part in entry["loc"]).upper()
            # never print a key
            value = "" if entry["loc"][0] == "api_keys" else f", got {excerpt(entry['input'])}"
            print(f"fcn-serve: {name}: {_explanation(entry)}{value}", file=sys.stderr)
        return 2
    configure_logging(settings.log_format, settings.log_level)
    if ignored_names := ignored_variables():
        log.warning(
            "ignored variables that Kubernetes sets for a Service of this name: %s; the port is %d; to avoid them, set "
            "`enableServiceLinks: false` in the pod, or rename the Service", ", ".join(ignored_names), settings.port,
        )  # fmt: skip
    return serve(create_app(settings))
