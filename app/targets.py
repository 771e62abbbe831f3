"""Targets of requests in absolute form, as a client sends them to a proxy."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from app.sockets import LARGEST_PORT

ABSOLUTE = re.compile(
    rb"https?://(?P<host>(?:[^][/?#@:]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{0,5}))?)(?P<path>[/?].*)?", re.IGNORECASE | re.DOTALL
)


def origin_form(target: bytes) -> tuple[bytes, bytes | None]:
    """A target in absolute form, `http://host/path`, as its path and its host; another target as it is, without a host.

    A target whose host or port is invalid stays as it is.
    """
    absolute = ABSOLUTE.fullmatch(target)
    if not absolute or int(absolute["port"] or 0) > LARGEST_PORT:
        return target, None
    path = absolute["path"] or b""
    return path if path.startswith(b"/") else b"/" + path, absolute["host"]


def to_origin_form(scope: Scope) -> None:
    """Replaces a target in absolute form by its path; its host becomes `Host` (RFC 9112, section 3.2.2).

    For h11, which gives the target as the path: no route matches an invalid one.
    """
    root = scope.get("root_path", "")
    raw_path, host = origin_form(scope.get("raw_path", b"").removeprefix(root.encode()))
    if host:
        scope["path"], scope["raw_path"] = root + unquote(raw_path.decode("latin-1")), root.encode() + raw_path
        MutableHeaders(scope=scope)["host"] = host.decode("latin-1")
