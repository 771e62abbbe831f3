"""Which format an `Accept` header asks for (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from typing import Literal

from app.api.errors import NotAcceptable

OFFERS: dict[str, Literal["png", "json"]] = {"image/png": "png", "application/json": "json"}


def format_from_accept(accept: str) -> Literal["png", "json"]:
    """`png` or `json`: what the header weighs higher, then what it names, not only covers; else `png`.

    Raises `NotAcceptable`.
    """
    weights = {media_type: _quality(accept, media_type) for media_type in OFFERS}
    best = max(weights, key=lambda media_type: weights[media_type])
    if weights[best][0] <= 0:
        raise NotAcceptable(f"Accept: {accept} fits neither {' nor '.join(OFFERS)}; give one of those, or ?format=")
    return OFFERS[best]


def _quality(accept: str, media_type: str) -> tuple[float, int]:
    """Weight and specificity (0 to 2) of the most specific range that matches; zeros where none does."""
    found: list[tuple[int, float]] = []
    for item in accept.split(",") if accept.strip() else ["*/*"]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        group = media_type.split("/")[0]
        if name in (media_type, f"{group}/*", "*/*"):
            specificity = 2 - [media_type, f"{group}/*", "*/*"].index(name)
            found.append((specificity, _weight(parameters)))
    specificity, weight = max(found, default=(0, 0.0))
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
