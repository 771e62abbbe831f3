"""Errors about scenes, which are rasters with coordinates, and about vector files."""

from __future__ import annotations

from imaging.errors import DamagedImage, UnknownImageType, WrongParameter


class SceneError(UnknownImageType):
    """A scene that is not read, or that does not allow what was asked of it."""


class NoCoordinates(SceneError):
    """The scene does not say where on Earth it lies."""


class SceneParameter(WrongParameter, SceneError):
    """The scene does not allow what a parameter asks for: it lacks bands, or its pixels have another size."""


class DamagedScene(DamagedImage, SceneError):
    """A part of the scene cannot be read."""


class VectorError(ValueError):
    """A vector file that is not read, or a polygon that cannot be moved."""


def gdal_reason(error: BaseException) -> str:
    """What GDAL says, in one line: the first of the chained errors has the cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())
