"""What is said of an answer: a row of a table of results; of its object, facts of an image, and headers of HTTP.

The object is the pixels of the classes that the answer shows. A cut-out says `box` (left, top, width and height in pixels of
the image; None if there is no object). Every other form of answer that takes `classes` says `object_pixels`, the number of
these pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imaging.cutout import ObjectBox
from imaging.rendering import Rendering

OBJECT_HEADERS = {"box": "X-Object-Box", "object_pixels": "X-Object-Pixels"}
NO_BOX = "none"
VALUES = {"box": re.compile(rf"{NO_BOX}|\d+(,\d+){{3}}", re.ASCII), "object_pixels": re.compile(r"\d+", re.ASCII)}


def image_row(
    size: tuple[int, int] | None = None, shares: Mapping[str, float] = {}, mean_confidence: float | None = None
) -> dict[str, Any]:
    """What a table of results says of an image; by default of one that is not known.

    size: (height, width), upright. shares: of the pixels of each class that is there, 0 to 1, before `min_confidence`.
    mean_confidence: of all pixels, 0 to 1.
    """
    height, width = size or (None, None)
    return {"width": width, "height": height, "classes": shares, "mean_confidence": mean_confidence}


def object_facts(rendering: Rendering, box: ObjectBox | None, pixels: int | None) -> dict[str, Any]:
    """The facts of an answer of this form; empty for a form that does not take `classes`."""
    if rendering.format == "cutout":
        return {"box": box}
    return {} if pixels is None else {"object_pixels": pixels}


def lacks_object(facts: Mapping[str, Any]) -> bool | None:
    """Whether the answer shows no pixel of its classes; None if the facts do not say."""
    return next((not facts[name] for name in OBJECT_HEADERS if name in facts), None)


def object_headers(facts: Mapping[str, Any]) -> dict[str, str]:
    """The facts as headers; other facts are left out."""
    headers = {}
    if "box" in facts:
        headers[OBJECT_HEADERS["box"]] = ",".join(map(str, facts["box"])) if facts["box"] else NO_BOX
    if "object_pixels" in facts:
        headers[OBJECT_HEADERS["object_pixels"]] = str(facts["object_pixels"])
    return headers


def read_object_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """The facts in these headers; empty if there are none. Raises `ValueError` for headers that are not the service's."""
    facts: dict[str, Any] = {}
    texts = {name: headers[header] for name, header in OBJECT_HEADERS.items() if header in headers}
    for name, text in texts.items():
        if not VALUES[name].fullmatch(text):
            raise ValueError(f"the header {OBJECT_HEADERS[name]}: {text[:100]}")
        numbers = None if text == NO_BOX else tuple(map(int, text.split(",")))
        facts[name] = numbers[0] if numbers and len(numbers) == 1 else numbers
    return facts
