"""A caller's trace: its id goes into the request's log lines, and nowhere else.

https://www.w3.org/TR/trace-context/, section 3.2
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TRACEPARENT = "traceparent"
FORMAT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def trace_fields(given: Sequence[str]) -> dict[str, str]:
    """`trace_id` and `parent_id` of a request with these `traceparent` headers; empty unless there is one, and it is valid."""
    found = FORMAT.fullmatch(given[0]) if len(given) == 1 else None
    if not found:
        return {}
    version, trace_id, parent_id, more = found.groups()
    # only versions to come may say more, and 255 is none
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(parent_id, 16):
        return {}
    return {"trace_id": trace_id, "parent_id": parent_id}
