"""The web page at `/` and the API reference at `/docs`, from files that come with the service."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'self'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
))  # fmt: skip
FRESH = {"Cache-Control": "no-cache"}
router = APIRouter(include_in_schema=False)


@router.get("/")
def page() -> Response:
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return FileResponse(STATIC / "index.html", headers=headers | FRESH)


@router.get("/docs")
def docs(request: Request) -> Response:
    """Swagger UI from the installed package, so that no other host is asked."""
    root = request.scope.get("root_path", "").rstrip("/")
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=f"{request.app.title} - API",
        swagger_js_url=f"{root}/docs/static/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/static/swagger-ui.css",
        swagger_favicon_url=f"{root}/static/icon.svg",
    )


class PageFiles(StaticFiles):
    """Files that are asked for anew each time, so that no browser mixes the scripts of two versions."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers.update(FRESH)
        return response


def mount_page(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/static", PageFiles(directory=STATIC), name="static")
    app.mount("/docs/static", StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-static")
