"""Targets of requests in absolute form, as a client sends them to a proxy."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from app.sockets import LARGEST_PORT

ABSOLUTE = re.compile(
    rb"https?://(?P<host>(?:[^][/?#@:]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{0,5}))?)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL
)


def to_origin_form(scope: Scope) -> None:
    """Replaces a target in absolute form, `http://host/path`, by its path; its host becomes `Host` (RFC 9112, section 3.2.2).

    A target whose host or port is invalid stays as it is; no route matches it.
    """
    root = scope.get("root_path", "")
    absolute = ABSOLUTE.fullmatch(scope.get("raw_path", b"").removeprefix(root.encode()))
    if absolute and int(absolute["port"] or 0) <= LARGEST_PORT:
        raw_path = absolute["path"] or b"/"
        scope["path"], scope["raw_path"] = root + unquote(raw_path.decode("latin-1")), root.encode() + raw_path
        MutableHeaders(scope=scope)["host"] = absolute["host"].decode("latin-1")
