"""Puts the parts together, and runs them: `create_app(settings)` and `fcn-serve`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import ValidationError

from app import routes, routes_batch, routes_state
from app.doorkeeper import Door, Doorkeeper
from app.handlers import install_handlers
from app.heads import HeadAsGet
from app.page import mount_page
from app.representation import package_version
from app.security import ProblemCORSMiddleware
from app.server import serve
from app.service import Service
from app.settings import PREFIX, Settings
from app.telemetry import RequestTelemetry, configure_logging
from model.memory import keep_freed_memory

TITLE = "fcn-segment"
SUMMARY = "Semantic segmentation over HTTP: an image goes in, a mask of exactly the same size comes out."


def create_app(settings: Settings) -> FastAPI:
    """The service with these settings; the network is loaded when the app starts."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title=TITLE, summary=SUMMARY, version=package_version(), lifespan=lifespan,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    app.include_router(routes.router, tags=["segmentation"])
    app.include_router(routes_batch.router, tags=["segmentation"])
    app.include_router(routes_state.router, tags=["state"])
    mount_page(app)
    install_handlers(app)
    path = routes.router.url_path_for(routes.segment_image.__name__)
    app.state.door = Door(routes.router.routes[0], path, service.refusal, service.arrivals)
    app.add_middleware(Doorkeeper, door=app.state.door)
    if settings.cors_origins:
        exposed = ["X-Request-ID", "Server-Timing", "Retry-After", "ETag"]
        app.add_middleware(
            ProblemCORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["GET", "POST"], allow_headers=["*"],
            expose_headers=exposed,
        )  # fmt: skip
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestTelemetry, metrics=service.metrics)
    return app


def parser() -> argparse.ArgumentParser:
    """`fcn-serve --help` lists every setting."""
    settings = [
        f"  {PREFIX}{name.upper():<18} {field.description} (default: {_default(field.default)})"
        for name, field in Settings.model_fields.items()
    ]
    epilog = "settings, from the environment and a .env file:\n" + "\n".join(settings)
    return argparse.ArgumentParser(
        "fcn-serve", description=SUMMARY, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _default(value: object) -> str:
    return str(value) if value not in ("", ()) else "none"


def main(argv: list[str] | None = None) -> int:
    parser().parse_args(argv)
    try:
        settings = Settings()
    except ValidationError as error:
        for entry in error.errors():
            name = PREFIX + "_".join(str(part) for part in entry["loc"]).upper()
            print(f"fcn-serve: {name}: {entry['msg']}, got {entry['input']!r}", file=sys.stderr)
        return 2
    configure_logging(settings.log_format, settings.log_level)
    keep_freed_memory()
    app = create_app(settings)
    return serve(app)


if __name__ == "__main__":
    sys.exit(main())
