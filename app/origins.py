"""Origins whose pages may call the service, as `SEGMENT_CORS_ORIGINS` has them."""

from __future__ import annotations

import re

ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[1-6]?\d{1,4})?")
DEFAULT_PORT = re.compile(r"(?<=^http:)(//.*):80$|(?<=^https:)(//.*):443$")  # browsers leave these ports out


def check_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """The origins as browsers send them: in lower case, without a final slash or the default port of the scheme.

    Raises `ValueError` for one that no browser sends.
    """
    origins = [origin.lower().rstrip("/") for origin in value]
    if not all(map(ORIGIN.fullmatch, origins)):
        raise ValueError("each must be * or an origin such as https://example.com or http://localhost:3000, without a path")
    return tuple(DEFAULT_PORT.sub(r"\1\2", origin) for origin in origins)
