"""API keys, cross-origin requests (CORS), and headers that limit what browsers do with an answer."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from fastapi import Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from app.api.errors import MEDIA_TYPE, BadRequest, Unauthorized, document
from app.keys import split_key

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class ProblemCORSMiddleware(CORSMiddleware):
    """CORS middleware that answers refused preflight requests with problem details."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        detail = f"{bytes(response.body).decode()}; see SEGMENT_CORS_ORIGINS"
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return JSONResponse(document(BadRequest, detail, request_headers["x-request-id"]), 400, headers, MEDIA_TYPE)


async def check_key_if_protected(request: Request) -> None:
    """A dependency of routes that need a key only if `protect_all` is set. Raises `Unauthorized`."""
    service = request.app.state.service
    if service.settings.protect_all:
        check_key(request, service.registry.api_keys)


def check_key(request: Request, keys: Sequence[str]) -> str:
    """Whose key the request has: its name, or else a digest of it; empty if there are no keys. Raises `Unauthorized`.

    keys: each a key, or `NAME:KEY`; then clients send the key, or the whole. Log lines of the request get the name.
    """
    if not keys:
        return ""
    token = (request.headers.get("x-api-key") or _bearer(request.headers.get("authorization", ""))).encode()
    names = []
    for line in keys:
        name, key = split_key(line)
        # all are compared, so that the time does not tell which one it is
        if hmac.compare_digest(token, key.encode()) | hmac.compare_digest(token, line.encode()):
            names.append(name)
    if not names:
        raise Unauthorized(Unauthorized.example, {"WWW-Authenticate": "Bearer"})
    if names[0]:
        request.state.log_fields["key"] = names[0]
        return f"name:{names[0]}"
    return f"key:{hashlib.sha256(token).hexdigest()}"


def _bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""
