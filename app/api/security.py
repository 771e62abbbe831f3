"""API keys, and which other origins may call."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from fastapi import Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from app.api.errors import MEDIA_TYPE, BadRequest, Unauthorized, document


class ProblemCORSMiddleware(CORSMiddleware):
    """CORS whose refusals are problem details too."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        detail = f"{bytes(response.body).decode()}; see SEGMENT_CORS_ORIGINS"
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return JSONResponse(document(BadRequest, detail, request_headers["x-request-id"]), 400, headers, MEDIA_TYPE)


def check_key(request: Request, keys: Sequence[str]) -> None:
    """Raises `Unauthorized` unless the request bears one of the keys, or none is asked for."""
    if not keys:
        return
    given = request.headers.get("x-api-key") or _bearer(request.headers.get("authorization", ""))
    matches = [hmac.compare_digest(given.encode(), key.encode()) for key in keys]
    if not any(matches):
        raise Unauthorized(Unauthorized.example, {"WWW-Authenticate": "Bearer"})


def _bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""
