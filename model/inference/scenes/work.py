"""The work on a scene: rows of classes go to a working file, and from there to the result."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from imaging.classes import VOID, object_ids
from imaging.georeferenced.bands import Bands, choose_bands
from imaging.georeferenced.errors import SceneError, SceneParameter
from imaging.georeferenced.place import Place, Window, metres_per_pixel, pixel_areas, scaled_size
from imaging.georeferenced.rows import SceneSource
from imaging.georeferenced.scene import Scene
from model.command_line import package_version, settings_digest
from model.inference.runtime import Runtime, Tile
from model.inference.scaling import LARGEST_FACTOR, SIDES, shrinks_too_far
from model.inference.scenes.request import SceneRequest
from model.inference.scenes.rows import ClassRows, Submit, segment_scene
from model.inference.scenes.rows_file import RowsFile
from model.inference.scheduler import Scheduler
from model.inference.segmenter import Segmenter
from model.inference.tile_queue import TileQueue
from model.inference.tiling import TilePlan, plan_tiles
from model.labels import LabelSet
from model.manifest import Manifest


@dataclass(frozen=True)
class SceneWork:
    """How a scene is segmented: everything that the rows of classes depend on. confidence: whether they have it.

    network: what identifies it. The source is read when a key is first asked for, as a whole.
    """

    request: SceneRequest
    place: Place
    bands: Bands
    tiles: TilePlan
    confidence: bool
    network: tuple[object, ...]

    @property
    def rows_key(self) -> str:
        """What the rows depend on, as a digest."""
        bands, size, identity = self.bands, self.place.size, repr((*self.network, _source_identity(self.request.source)))
        return settings_digest(identity, bands.describe(), bands.alpha, size, self.tiles, self.confidence)

    @property
    def key(self) -> str:
        """What the result depends on, as a digest."""
        return settings_digest(self.rows_key, replace(self.request, source="", out="", resume=False, style=False))

    def to(self, request: SceneRequest, name: str, manifest: Manifest) -> SceneWork:
        """The work for another output of the same scene, of this name. Raises as `plan_work`."""
        _check_polygons(request, self.place, name, manifest)
        return replace(self, request=request, confidence=request.is_polygons and manifest.has_logits)

    def facts(self, runtime: Runtime) -> dict[str, str]:
        """What the result says of how it was made."""
        return {
            "FCN_KEY": self.key,
            "FCN_VERSION": package_version(),
            "FCN_MODEL": runtime.identity.name,
            "FCN_MODEL_SHA256": runtime.identity.sha256,
            "FCN_RUNTIME": f"{runtime.identity.runtime} {runtime.identity.precision}",
            "FCN_BANDS": self.bands.describe(),
            "FCN_TILING": json.dumps(self.tiles.describe()),
        }


class ClassAreas:
    """The area of each class of a scene: square metres, or pixels where the scene does not say how large they are."""

    def __init__(self, place: Place) -> None:
        self.place, self.totals, self.in_metres = place, np.zeros(VOID + 1), False
        with suppress(SceneError):  # no coordinates, a middle that is not on the Earth, or a system without a unit of length
            metres_per_pixel(place)
            self.in_metres = True

    def summed(self, parts: Iterable[ClassRows]) -> Iterator[ClassRows]:
        """The same rows; their areas count once they are taken."""
        for part in parts:
            height, width = part.ids.shape
            areas = pixel_areas(self.place, Window(part.top, 0, height, width)) if self.in_metres else np.ones((1, 1))
            weights = np.broadcast_to(areas, (height, width)).ravel()
            self.totals += np.bincount(part.ids.ravel(), weights, VOID + 1)
            yield part

    def in_words(self, labels: LabelSet) -> str:
        """The areas in a line, the largest first and ground without data last, in hectares or in percent of the pixels."""
        order = sorted(labels.classes, key=lambda label: -self.totals[label.id])
        unit, scale = ("hectares", 1e-4) if self.in_metres else ("percent", 100 / max(1.0, float(self.totals.sum())))
        present = [f"{label.name} {self.totals[label.id] * scale:.3g}" for label in order if self.totals[label.id]]
        void = f"; without data {self.totals[VOID] * scale:.3g}" if self.totals[VOID] else ""
        return f"{unit} by class: {', '.join(present) or 'none'}{void}"


def plan_work(request: SceneRequest, scene: Scene, runtime: Runtime) -> SceneWork:
    """How the scene is segmented. Raises `SceneError`, `TilingError`, and `UnknownClass` for a class that the network lacks."""
    manifest = runtime.manifest
    _check_polygons(request, scene.place, scene.name, manifest)
    bands = choose_bands(scene, request.bands, request.scale, manifest.preprocessing.channels)
    working, gsd = scene.size, request.gsd
    if gsd is None and scene.place.is_on_earth:
        gsd = manifest.preprocessing.gsd
    if gsd is not None:
        working = scaled_size(scene.place, gsd, LARGEST_FACTOR, scene.name)
        if shrinks_too_far(max(scene.size), max(working)):
            raise SceneParameter(
                f"{scene.name} shows too little ground for pixels of {gsd:.3g} m: {scene.size[1]}x{scene.size[0]} pixels "
                f"would become {working[1]}x{working[0]}, and the network needs {SIDES[0]} along the longer side; give a "
                "smaller --gsd"
            )
    tile = Segmenter(runtime).tile(request.tile)
    tiles = plan_tiles(working, tile, request.overlap, request.blend)
    network = (runtime.identity, runtime.file_sha256)
    return SceneWork(request, scene.place, bands, tiles, request.is_polygons and manifest.has_logits, network)


def _source_identity(source: str) -> str:
    """The sha256 of a file, so that copies of a scene give equal bytes. Of an address, the address: it has no version."""
    if "://" in source:
        return source
    status = os.stat(source)
    return _sha256(source, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, changed: int) -> str:
    """The digest of a file of this size and time of change."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_polygons(request: SceneRequest, place: Place, name: str, manifest: Manifest) -> None:
    if request.is_polygons:
        metres_per_pixel(place, name)  # raises where there are none
        if request.kind == "geojson":
            place.to_degrees([[place.size[1] / 2, place.size[0] / 2]])  # likewise
        object_ids(request.classes, manifest.labels.classes)  # raises for a class that the network lacks


def segment_work(
    work: SceneWork, scene: Scene, runtime: Runtime, submit: Submit, ahead: int, first_row: int = 0
) -> Generator[ClassRows]:
    """The rows of classes of the scene, from this row on."""
    fill = np.array(runtime.manifest.preprocessing.neutral, np.uint8)
    temperature = Segmenter(runtime).temperature if work.confidence else None
    void_tile: Tile = np.broadcast_to(fill, (*work.tiles.tile, len(fill)))
    source = SceneSource(scene, work.bands, work.tiles.size, fill)
    return segment_scene(
        source, scene.size, work.tiles, runtime, submit, ahead=ahead, void_tile=void_tile, temperature=temperature,
        first_row=first_row,
    )  # fmt: skip


def all_rows(
    work: SceneWork, scene: Scene, runtime: Runtime, rows: RowsFile, submit: Submit, ahead: int
) -> Generator[ClassRows]:
    """All rows of the scene: those that are kept, then the others."""
    yield from rows
    yield from new_rows(work, scene, runtime, rows, submit, ahead)


def new_rows(
    work: SceneWork, scene: Scene, runtime: Runtime, rows: RowsFile, submit: Submit, ahead: int
) -> Generator[ClassRows]:
    """The rows that are not kept, which the network gives; it keeps them."""
    if rows.is_complete:
        return
    with closing(segment_work(work, scene, runtime, submit, ahead, rows.next_row)) as parts:
        for part in parts:
            rows.append(part)
            yield part


@contextmanager
def running(runtime: Runtime) -> Iterator[tuple[Submit, int]]:
    """A function that starts the network on a tile, and how many tiles to submit ahead."""
    scheduler = Scheduler([runtime])
    queue = TileQueue(math.inf)
    scheduler.start()
    try:
        yield lambda tile: scheduler.submit(queue, tile), scheduler.ahead
    finally:
        scheduler.cancel(queue)
        scheduler.stop()
