"""Areas as the command line has them: pixels, a share of the image, or square metres on the ground."""

from __future__ import annotations

import re
from dataclasses import dataclass

from model.inference.small_regions import Area, parse_area

SQUARE_METRES = r"(\d+(?:\.\d+)?|\.\d+) ?m(?:2|²)"


@dataclass(frozen=True)
class GroundArea:
    """An area on the ground in square metres."""

    square_metres: float


def parse_any_area(text: str) -> Area | GroundArea:
    """Parses `200`, `0.1%` or `5m2`; raises `ValueError`."""
    if match := re.fullmatch(SQUARE_METRES, text):
        return GroundArea(float(match[1]))
    try:
        return parse_area(text)
    except ValueError as error:
        raise ValueError(f"{error}; of scenes also square metres, such as 5m2") from error
