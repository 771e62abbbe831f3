"""What form of answer the header `Accept` asks for (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from app.api.errors import NotAcceptable
from imaging.encoding import ImageFormat

FORMATS: dict[str, Literal["png", "json"]] = {"image/png": "png", "application/json": "json"}
PICTURES: dict[str, ImageFormat] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


def format_from_accept(accept: str) -> Literal["png", "json"]:
    """`png` or `json`: what the header weighs higher, then what it names and not only covers; `png` where all is equal.

    Raises `NotAcceptable`.
    """
    media_type = _best(accept, FORMATS)
    if media_type is None:
        raise NotAcceptable(f"Accept: {accept} fits neither {' nor '.join(FORMATS)}; give one of those, or ?format=")
    return FORMATS[media_type]


def picture_format_from_accept(accept: str) -> ImageFormat:
    """Likewise for `color` and `overlay`; `png` where the header fits no picture, since `format` beats it."""
    return PICTURES.get(_best(accept, PICTURES) or "", "png")


def _best(accept: str, offers: Mapping[str, str]) -> str | None:
    """The first of the best of these media types, None where none fits."""
    weights = {media_type: _quality(accept, media_type) for media_type in offers}
    best = max(weights, key=lambda media_type: weights[media_type])
    return best if weights[best][0] > 0 else None


def _quality(accept: str, media_type: str) -> tuple[float, int]:
    """Weight and specificity (0 to 2) of the most specific range that matches; zeros where none does."""
    matches: list[tuple[int, float]] = []
    for item in accept.split(",") if accept.strip() else ["*/*"]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        group = media_type.split("/")[0]
        if name in (media_type, f"{group}/*", "*/*"):
            specificity = 2 - [media_type, f"{group}/*", "*/*"].index(name)
            matches.append((specificity, _weight(parameters)))
    specificity, weight = max(matches, default=(0, 0.0))
    return weight, specificity


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                weight = float(parameter[2:])
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0
