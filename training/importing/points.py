"""Reads the numbers and points of labelling tools."""

from __future__ import annotations

from typing import Any

Point = tuple[float, float]
LARGEST = 1e6  # pixels, percent or degrees; larger numbers are none


def read_point(point: Any) -> Point:
    """The coordinates of a point [x, y], or of an object with x and y; raises `ValueError` for others."""
    if isinstance(point, dict) and {"x", "y"} <= set(point):
        point = [point["x"], point["y"]]
    if not isinstance(point, list) or len(point) != 2:
        raise ValueError(f"needs points as [[x, y], ...], got {str(point)[:60]}")
    return read_number(point[0], "x"), read_number(point[1], "y")


def read_number(value: Any, name: str) -> float:
    """A coordinate, length or angle; raises `ValueError` for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError(f"needs a number for {name}, got {str(value)[:60]}")
    return float(value)
