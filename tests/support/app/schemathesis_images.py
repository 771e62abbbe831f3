"""What schemathesis sends where the document says binary: images of every format, cut ones, and any bytes."""

from __future__ import annotations

import io

import hypothesis.strategies as st
import schemathesis
from PIL import Image


def file_of(format: str, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(buffer, format)
    return buffer.getvalue()


FILES = [
    file_of(format, *size)
    for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
    for size in ((1, 1), (70, 40), (150, 120))
]
CUT = st.builds(lambda data, share: data[: round(share * len(data)) or 1], st.sampled_from(FILES), st.floats(0, 1))

schemathesis.openapi.format("binary", st.sampled_from(FILES) | CUT | st.binary(min_size=1, max_size=300))
