"""API keys."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from fastapi import Request

from app.errors import Unauthorized


def check_key(request: Request, keys: Sequence[str]) -> None:
    """Raises `Unauthorized` unless the request bears one of the keys, or none is asked for."""
    if not keys:
        return
    given = request.headers.get("x-api-key") or _bearer(request.headers.get("authorization", ""))
    matches = [hmac.compare_digest(given.encode(), key.encode()) for key in keys]
    if not any(matches):
        raise Unauthorized(
            "send a valid key as `X-API-Key: KEY` or `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer"}
        )


def _bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""
