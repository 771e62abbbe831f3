"""What schemathesis sends where the document says binary: images of every format, cut ones, and any bytes.

The document cannot say which parameters go with a format, nor which classes and models there are: most queries lose those that
do not go, and these two.
"""

from __future__ import annotations

import random
from typing import Any

import hypothesis.strategies as st
import schemathesis

from imaging.rendering import ANSWER_FORMATS
from tests.support.app.openapi import without_unused
from tests.support.images import encode, make_photo

FILES = [
    encode(make_photo(height, width), format)
    for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    for width, height in ((1, 1), (70, 40), (150, 120), (110, 200), (300, 200))
]
CUT_FILES = st.builds(lambda data, share: data[: round(share * len(data)) or 1], st.sampled_from(FILES), st.floats(0, 1))

schemathesis.openapi.format("binary", st.sampled_from(FILES) | CUT_FILES | st.binary(min_size=1, max_size=300))


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """The query without what a format does not use, and without names; one query in eight as it is."""
    if not query or random.Random(repr(sorted(query))).random() < 1 / 8:
        return query
    if (query.get("format") or "png") not in ANSWER_FORMATS:
        return query
    return {name: value for name, value in without_unused(query).items() if name not in ("classes", "model")}
