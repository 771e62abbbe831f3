"""What schemathesis sends where the document says binary: images of every format, cut ones, and any bytes.

The document cannot say which parameters go with a format, nor which classes and models there are: most queries lose those that
do not go, and these two.
"""

from __future__ import annotations

import io
import random
from dataclasses import replace
from typing import Any, get_args

import hypothesis.strategies as st
import schemathesis
from PIL import Image

from imaging.rendering import ANSWER_FORMATS, MaskEncoding, Rendering


def file_of(format: str, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(buffer, format)
    return buffer.getvalue()


FILES = [
    file_of(format, *size)
    for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    for size in ((1, 1), (70, 40), (150, 120), (110, 200), (300, 200))
]
CUT_FILES = st.builds(lambda data, share: data[: round(share * len(data)) or 1], st.sampled_from(FILES), st.floats(0, 1))

schemathesis.openapi.format("binary", st.sampled_from(FILES) | CUT_FILES | st.binary(min_size=1, max_size=300))


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """The query without what a format does not use, and without names; one query in eight as it is."""
    if not query or random.Random(repr(sorted(query))).random() < 1 / 8:
        return query
    format = query.get("format") or "png"
    if format not in ANSWER_FORMATS:
        return query
    rendering = Rendering(format)
    if query.get("mask") in get_args(MaskEncoding) and rendering.uses("mask"):
        rendering = replace(rendering, mask=query["mask"])
    return {name: value for name, value in query.items() if rendering.uses(name) and name not in ("classes", "model")}
