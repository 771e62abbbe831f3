"""Turns every error into problem details, from whichever layer it comes."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.errors import MEDIA_TYPE, BadRequest, MethodNotAllowed, NotFound, Problem, Unprocessable, document

log = logging.getLogger("segment")
to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def install_handlers(app: FastAPI) -> None:
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unexpected)


def problem_response(kind: type[Problem], detail: str, headers: dict[str, str], request_id: str) -> Response:
    # the answer to an unexpected error is sent outside the middleware that adds the id
    body = problem_body(kind, detail, request_id)
    return Response(body, kind.status, headers | {"X-Request-ID": request_id}, MEDIA_TYPE)


def problem_body(kind: type[Problem], detail: str, request_id: str) -> bytes:
    return to_json(document(kind, detail, request_id)).encode()


def _respond(request: Request, kind: type[Problem], detail: str, headers: dict[str, str]) -> Response:
    request.state.log = {"detail": detail}
    return problem_response(kind, detail, headers, getattr(request.state, "request_id", ""))


async def on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _respond(request, type(error), error.detail, error.headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = dict.fromkeys(_describe(entry) for entry in error.errors())
    return _respond(request, Unprocessable, "; ".join(details), {})


def _describe(entry: dict[str, Any]) -> str:
    place = " ".join(str(part) for part in entry["loc"][:2])
    return f"{place}: {entry['msg']}, got {entry.get('input')!r}"


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return _respond(request, NotFound, f"nothing at {request.url.path}; the routes are listed at /docs", headers)
    if error.status_code == 405:
        allowed = f"{request.method} is not allowed on {request.url.path}; allowed: {headers.get('Allow', 'see /docs')}"
        return _respond(request, MethodNotAllowed, allowed, headers)
    return _respond(request, BadRequest, str(error.detail), headers)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return _respond(request, BadRequest, "the client went away while sending", {})


async def _on_unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected error", exc_info=error, extra={"fields": {"request_id": getattr(request.state, "request_id", "")}})
    return _respond(request, Problem, Problem.example, {})
