"""API keys, requests of pages of other origins, and headers that limit what browsers do with an answer."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from hmac import compare_digest
from ipaddress import ip_address

from fastapi import Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.api.errors import MEDIA_TYPE, BadRequest, Forbidden, Unauthorized, document
from app.keys import split_key
from app.origins import is_same_origin, plain_address
from app.serving.service import Service
from app.settings import Settings
from common.printable import VALUE_LENGTH, printable

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


HOST = re.compile(r"\[?([\w.-]*|[0-9a-f:.]+)\]?(:\d*)?", re.ASCII | re.IGNORECASE)
CHECK_HOST, CHECK_PATHS = "health", {"/health/live", "/health/ready"}  # what HAProxy's checks send


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
    token = token_of(request.headers).encode()
    # all are compared, so that the time does not tell which one it is
    own = [line for line in keys if compare_digest(token, split_key(line)[1].encode()) | compare_digest(token, line.encode())]
    if not own:
        raise Unauthorized(Unauthorized.example, {"WWW-Authenticate": "Bearer"})
    if name := split_key(own[0])[0]:
        request.state.log_fields["key"] = name
        return f"name:{name}"
    return f"key:{hashlib.sha256(token).hexdigest()}"


def token_of(headers: Headers) -> str:
    """The key that a request has; empty if it has none. X-AnyLabeling sends it as `Token`."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or headers.get("token") or (value.strip() if scheme.lower() == "bearer" else "")


def check_sender(scope: Scope, path: str, service: Service) -> None:
    """Raises `Forbidden` for what a browser may send for other sites. Programs have neither `Origin` nor `Sec-Fetch-Site`.

    A browser sends a page's POST to another origin without asking first, except one with a key. If the owner of a site changes
    the address of its name to a loopback one, the browser takes the service for the site; `Host` still has the name.
    """
    settings, headers = service.settings, Headers(scope=scope)
    host = headers.get("host", "")
    if not (is_own_host(host, settings) or (host == CHECK_HOST and path in CHECK_PATHS)):
        name = printable(host, VALUE_LENGTH)
        raise Forbidden(f"the service does not answer for the host {name}; the operator can name it in SEGMENT_HOSTS")
    has_key = service.registry.api_keys and token_of(headers)
    if scope["method"] in ("POST", "PUT", "DELETE") and not has_key and is_foreign(headers, {*settings.cors_origins}):
        origin = printable(headers.get("origin", "another origin"), VALUE_LENGTH)
        raise Forbidden(f"a page of {origin} may not call the service; the operator can name it in SEGMENT_CORS_ORIGINS")


def is_own_host(host: str, settings: Settings) -> bool:
    """Whether a request's `Host` may be this one. An address belongs to nobody who could lead it elsewhere, unlike a name."""
    is_local = listens_on_loopback(settings.host)
    if settings.trusted_proxies or not (settings.hosts or is_local):
        return True
    match = HOST.fullmatch(host)
    name = plain_address(match[1].lower().removesuffix(".")) if match else host
    with suppress(ValueError):
        return ip_address(name).is_loopback or not is_local or name in map(plain_address, settings.hosts)
    return name in ("", "localhost", *settings.hosts) or name.endswith(".localhost")


@cache
def listens_on_loopback(host: str) -> bool:
    """Whether the address to listen on is this machine's alone. False for a name that is not known."""
    with suppress(OSError, ValueError):
        *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return ip_address(plain_address(str(address[0]))).is_loopback
    return False


def is_foreign(headers: Headers, cors_origins: set[str]) -> bool:
    """Whether a browser sends this for a page of an origin that is neither the service's own nor allowed."""
    origins, sites, host = headers.getlist("origin"), {*headers.getlist("sec-fetch-site")}, headers.get("host", "")
    if "*" in cors_origins or (origins and cors_origins.issuperset(origins)) or (sites and sites <= {"same-origin", "none"}):
        return False
    any_port = "x-forwarded-for" in headers or "x-forwarded-proto" in headers  # nginx's $host has none
    is_own = all(is_same_origin(origin, host, any_port=any_port) for origin in origins)
    return not (is_own and sites.isdisjoint({"cross-site", "same-site"}))
