"""The web page at `/` and the API reference at `/docs`, both from installed files."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from app.api.examples import with_keys
from app.api.security import check_key_if_protected

STATIC = Path(__file__).parent.parent / "static"
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'self'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
))  # fmt: skip
# Swagger UI adds inline styles to the document while it runs; {} is the hash of the document's only inline script
DOCS_POLICY = "; ".join((
    "default-src 'none'", "script-src 'self' '{}'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:",
    "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
))  # fmt: skip
SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
FRESH = {"Cache-Control": "no-cache"}
RELATIVE = re.compile(r'\b(?:href|src)="(?!#)')
router = APIRouter(include_in_schema=False)


@router.get("/")
def page(request: Request) -> Response:
    """The page. Behind a proxy's prefix its links begin with the prefix, so that it works with and without a final slash."""
    text = (STATIC / "index.html").read_text("utf-8")
    if root := _root(request):
        text = RELATIVE.sub(lambda match: f"{match[0]}{escape(root)}/", text)
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY} | FRESH)


@router.get("/openapi.json", dependencies=[Depends(check_key_if_protected)])
def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    service, root = request.app.state.service, _root(request)
    document = request.app.openapi()
    if service.loader.api_keys:
        document = with_keys(document, all_routes=service.settings.protect_all)
    return JSONResponse(document | ({"servers": [{"url": root}]} if root else {}))


@router.get("/docs", dependencies=[Depends(check_key_if_protected)])
def docs(request: Request) -> Response:
    """Swagger UI from the installed package, so that the browser loads nothing from other hosts."""
    root = _root(request)
    response = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=f"{request.app.title} - API",
        swagger_js_url=f"{root}/docs/static/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/static/swagger-ui.css",
        swagger_favicon_url=f"{root}/static/icon.svg",
    )
    scripts = SCRIPT.findall(bytes(response.body))
    digest = base64.b64encode(hashlib.sha256(scripts[0]).digest()).decode()
    response.headers["Content-Security-Policy"] = DOCS_POLICY.format(f"sha256-{digest}")
    return response


def _root(request: Request) -> str:
    """The path under which a proxy serves this app: empty, or with a slash at its start and none at its end."""
    root = request.scope.get("root_path", "").strip("/")
    return f"/{root}" if root else ""


class PageFiles(StaticFiles):
    """Static files that browsers revalidate each time, so that they never mix the scripts of two versions."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers.update(FRESH)
        return response


def mount_page(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/static", PageFiles(directory=STATIC), name="static")
    app.mount("/docs/static", StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-static")
