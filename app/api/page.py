"""The web page at `/` and the API reference at `/docs`, from files that come with the service."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent.parent / "static"
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'self'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
))  # fmt: skip
FRESH = {"Cache-Control": "no-cache"}
RELATIVE = re.compile(r'\b(?:href|src)="(?!#)')
router = APIRouter(include_in_schema=False)


@router.get("/")
def page(request: Request) -> Response:
    """The page. Under a prefix its addresses begin with that, so that it works without a slash at its own end too."""
    text = (STATIC / "index.html").read_text("utf-8")
    if root := _root(request):
        text = RELATIVE.sub(lambda found: f"{found[0]}{escape(root)}/", text)
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(text, headers=headers | FRESH)


@router.get("/docs")
def docs(request: Request) -> Response:
    """Swagger UI from the installed package, so that no other host is asked."""
    root = _root(request)
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=f"{request.app.title} - API",
        swagger_js_url=f"{root}/docs/static/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/static/swagger-ui.css",
        swagger_favicon_url=f"{root}/static/icon.svg",
    )


def _root(request: Request) -> str:
    """The path under which a proxy serves this: empty, or with a slash before it and none behind."""
    root = request.scope.get("root_path", "").strip("/")
    return f"/{root}" if root else ""


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
