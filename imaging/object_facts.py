"""What an answer says of its object, the pixels of the classes that it shows: as facts of an image, and as headers of HTTP.

A cut-out says `box` (left, top, width and height in pixels of the image; None if there is no object). Every other form of
answer that takes `classes` says `object_pixels`, the number of these pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imaging.cutout import ObjectBox
from imaging.rendering import Rendering

OBJECT_HEADERS = {"box": "X-Object-Box", "object_pixels": "X-Object-Pixels"}
NO_BOX = "none"


def object_facts(rendering: Rendering, box: ObjectBox | None, pixels: int | None) -> dict[str, Any]:
    """The facts of an answer of this form; empty for a form that does not take `classes`."""
    if rendering.format == "cutout":
        return {"box": box}
    return {} if pixels is None else {"object_pixels": pixels}


def lacks_object(facts: Mapping[str, Any]) -> bool | None:
    """Whether the answer shows no pixel of its classes; None if the facts do not say."""
    values = [facts[name] for name in OBJECT_HEADERS if name in facts]
    return not any(values) if values else None


def object_headers(facts: Mapping[str, Any]) -> dict[str, str]:
    """The facts as headers; other facts are left out."""
    return {header: _text(facts[name]) for name, header in OBJECT_HEADERS.items() if name in facts}


def read_object_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """The facts in these headers; empty if there are none. Raises `ValueError` for headers that are not the service's."""
    facts: dict[str, Any] = {}
    for name, header in OBJECT_HEADERS.items():
        if (text := headers.get(header)) is None:
            continue
        numbers = () if name == "box" and text == NO_BOX else tuple(map(int, text.split(",")))
        if len(numbers) not in ((0, 4) if name == "box" else (1,)) or any(number < 0 for number in numbers):
            raise ValueError(f"the header {header}: {text[:100]}")
        facts[name] = (numbers or None) if name == "box" else numbers[0]
    return facts


def _text(value: tuple[int, ...] | int | None) -> str:
    return NO_BOX if value is None else str(value) if isinstance(value, int) else ",".join(map(str, value))
