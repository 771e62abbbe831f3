"""Writes the result of a scene from its rows of classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cli.scene_request import SceneRequest
from cli.scenes.rows_file import RowsFile
from imaging.georeferenced.place import Place
from imaging.georeferenced.raster import RasterFacts, read_key, write_raster
from model.labels import LabelSet
from model.whole_file import whole_file


def write_output(request: SceneRequest, place: Place, rows: RowsFile, labels: LabelSet, tags: Mapping[str, str]) -> None:
    """Writes the result, whole or not at all. tags: what it says of how it was made. Raises `OSError`."""
    with whole_file(Path(request.out)) as partial:
        facts = RasterFacts(labels.classes, labels.palette, tags)
        write_raster(partial, place, (part.ids for part in rows), facts, cog=request.cog)


def existing_key(request: SceneRequest) -> str | None:
    """The key of the result that is there; None if there is none."""
    return read_key(request.out)
