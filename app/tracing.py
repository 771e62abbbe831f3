"""The trace ids of a caller, for the request's log lines only (https://www.w3.org/TR/trace-context/, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

TRACEPARENT = "traceparent"
FORMAT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def trace_fields(headers: Sequence[str]) -> dict[str, str]:
    """`trace_id` and `parent_id` from a request's `traceparent` headers; empty unless there is exactly one, and it is valid."""
    match = FORMAT.fullmatch(headers[0]) if len(headers) == 1 else None
    if not match:
        return {}
    version, trace_id, parent_id, extension = match.groups()
    # only versions after 00 may have more fields, and ff is no version
    if version == "ff" or (version == "00" and extension) or not int(trace_id, 16) or not int(parent_id, 16):
        return {}
    return {"trace_id": trace_id, "parent_id": parent_id}
