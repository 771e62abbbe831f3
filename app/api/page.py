"""The web page at `/` and the API reference at `/docs`, both from installed files, which are read once."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html import escape
from importlib.resources import files
from mimetypes import guess_type
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

from app.api.errors import nothing_at
from app.api.schemas import with_keys
from app.api.security import check_key_if_protected
from app.api.segment import named_tags
from app.serving.jobs.job import available_outputs

STATIC = Path(__file__).parent.parent / "static"
REFERENCE, REFERENCE_FILES = Path(str(files("fastapi_offline") / "static")), "swagger-ui*"
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
SCRIPT = re.compile("<script>(.*?)</script>", re.DOTALL)
JOBS = 'id="jobs"'  # the page shows its jobs where the element has their limits and outputs
RELATIVE = re.compile(r'\b(?:href|src)="(?!#)')
FRESH = {"Cache-Control": "no-cache"}  # browsers ask anew each time, so that they never mix the scripts of two versions
router = APIRouter(include_in_schema=False)


class StaticFile(NamedTuple):
    """A file in memory, as all its answers share it. tag: its entity tag."""

    content: bytes
    media_type: str
    tag: str


@router.get("/")
async def page(request: Request) -> Response:
    """The page. Behind a proxy's prefix its links begin with the prefix, so that it works with and without a final slash."""
    text = _static_files(STATIC)["index.html"].content.decode()
    if request.app.state.jobs:
        settings = request.app.state.service.settings
        limits = f'data-megabytes="{settings.job_upload_mb:.10g}" data-days="{settings.jobs_days:.10g}"'
        text = text.replace(JOBS, f'{JOBS} {limits} data-outputs="{" ".join(available_outputs())}"', 1)
    if root := _root(request):
        text = RELATIVE.sub(lambda match: f"{match[0]}{escape(root)}/", text)
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY} | FRESH)


@router.get("/openapi.json", dependencies=[Depends(check_key_if_protected)])
def openapi(request: Request) -> Response:
    """The OpenAPI document, as bytes that all its answers share."""
    service, root = request.app.state.service, _root(request)
    documents: dict[tuple[str, bool], bytes] = request.app.state.documents
    has_keys = bool(service.registry.api_keys)
    if (root, has_keys) not in documents:
        document = request.app.openapi()
        if has_keys:
            document = with_keys(document, all_routes=service.settings.protect_all)
        documents[root, has_keys] = json.dumps(document | ({"servers": [{"url": root}]} if root else {})).encode()
    return Response(documents[root, has_keys], media_type="application/json")


@router.get("/docs", dependencies=[Depends(check_key_if_protected)])
async def docs(request: Request) -> Response:
    """Swagger UI from the installed package, so that the browser loads nothing from other hosts."""
    root = _root(request)
    response = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=f"{request.app.title} - API",
        swagger_js_url=f"{root}/docs/static/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/static/swagger-ui.css",
        swagger_favicon_url=f"{root}/static/icon.svg",
    )
    text = bytes(response.body).decode()
    digest = base64.b64encode(hashlib.sha256(SCRIPT.findall(text)[0].encode()).digest()).decode()
    text = text.replace("<head>", f'<head><script src="{escape(root)}/static/theme.js"></script>', 1)
    return HTMLResponse(text, headers={"Content-Security-Policy": DOCS_POLICY.format(f"sha256-{digest}")})


@router.get("/static/{path:path}")
async def page_file(request: Request, path: str) -> Response:
    """A file of the page."""
    return _file_answer(request, _static_files(STATIC).get(path), FRESH)


@router.get("/docs/static/{path:path}")
async def docs_file(request: Request, path: str) -> Response:
    """A file of Swagger UI."""
    return _file_answer(request, _static_files(REFERENCE, REFERENCE_FILES).get(path), {})


def _file_answer(request: Request, file: StaticFile | None, headers: dict[str, str]) -> Response:
    """The file, or 304 if the client has it. Raises `NotFound` for None."""
    if not file:
        raise nothing_at(request.url.path)
    headers = headers | {"ETag": file.tag}
    if named_tags(request.headers) & {file.tag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)


@cache
def _static_files(folder: Path, pattern: str = "*") -> dict[str, StaticFile]:
    """The files of a folder and its sub-folders by their path in it, with slashes. Reads them once."""
    static_files = {}
    for path in sorted(path for path in folder.rglob(pattern) if path.is_file()):
        content, kind = path.read_bytes(), guess_type(path.name)[0] or "text/plain"
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        static_files[path.relative_to(folder).as_posix()] = StaticFile(content, kind, tag)
    return static_files


def _root(request: Request) -> str:
    """The path under which a proxy serves this app: empty, or with a slash at its start and none at its end (`Settings`)."""
    return str(request.scope.get("root_path", ""))


def mount_page(app: FastAPI) -> None:
    """Adds the page and the reference, and reads their files."""
    _static_files(STATIC)
    _static_files(REFERENCE, REFERENCE_FILES)
    app.state.documents = {}
    app.include_router(router)
