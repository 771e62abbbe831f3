"""The work on a scene: rows of classes go to a working file, and from there to the result."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from common.arrays import Mask, Size
from common.command_line import package_version, settings_digest
from imaging.classes import VOID, object_ids
from imaging.georeferenced.area import LAYER, Area, read_area
from imaging.georeferenced.bands import Bands, choose_bands
from imaging.georeferenced.errors import SceneError, SceneParameter
from imaging.georeferenced.place import Place, Window, metres_per_pixel, pixel_areas, scaled_size
from imaging.georeferenced.raster import KEY_TAG
from imaging.georeferenced.rows import SceneSource
from imaging.georeferenced.scene import Scene
from model.architecture import first_centre
from model.inference.runtime import Runtime, Submit, Tile
from model.inference.scaling import LARGEST_FACTOR, SIDES, shrinks_too_far
from model.inference.scenes.request import SceneRequest
from model.inference.scenes.rows import ClassRows, segment_scene
from model.inference.scenes.rows_file import RowsFile
from model.inference.scheduler import Scheduler
from model.inference.segmentation import require_confidence
from model.inference.segmenter import Segmenter
from model.inference.tile_queue import TileQueue
from model.inference.tiling import TilePlan, plan_tiles
from model.labels import LabelSet

VOID_ROWS = 256  # rows outside of an area that are written at once
ROUNDING = 1e-6  # pixels
STATISTICS = re.compile(r"(?s)\s+|<MDI key=.STATISTICS_[^<]*</MDI>|<Histograms>.*?</Histograms>|<(Metadata|PAM\w+)[^<>]*></\1>")
"""What programs write beside a raster when they show it, and what is empty without it."""


@dataclass(frozen=True)
class SceneWork:
    """How a scene is segmented: everything that the rows of classes depend on. confidence: whether they have it.

    files: of the scene, its own first. network: what identifies it. area: outside of which the result is void, None for the
    whole scene. runs: which tiles the network sees, bool (rows of tiles, columns). A key reads the files as a whole, once.
    """

    request: SceneRequest
    files: tuple[str, ...]
    place: Place
    bands: Bands
    tiles: TilePlan
    confidence: bool
    network: tuple[object, ...]
    area: Area | None
    runs: Mask

    @property
    def rows_key(self) -> str:
        """What the rows depend on, as a digest."""
        bands = self.bands.numbers, self.bands.scales, self.bands.alpha
        identity, area = repr((*self.network, *filter(None, map(_source_identity, self.files)))), self.area and self.area.digest
        return settings_digest(identity, bands, self.place, self.tiles, self.confidence, area)

    @property
    def key(self) -> str:
        """What the result depends on, as a digest."""
        request = replace(self.request, source="", out="", extent=None, resume=False, style=False)
        return settings_digest(self.rows_key, request)

    @property
    def wanted_rows(self) -> tuple[int, int]:
        """The first row of the scene that may not be void, and the one after the last."""
        return self.area.rows if self.area else (0, self.place.size[0])

    @property
    def tile_count(self) -> int:
        """The number of tiles that the network sees."""
        return int(np.count_nonzero(self.runs))

    def tiles_above(self, row: int) -> int:
        """How many of them the rows of the scene above this one take."""
        if row <= self.wanted_rows[0]:
            return 0
        count = bisect_left(self.tiles.tops, row * self.tiles.size[0] / self.place.size[0])
        return int(np.count_nonzero(self.runs[:count]))

    def facts(self, runtime: Runtime) -> dict[str, str]:
        """What the result says of how it was made."""
        return {
            KEY_TAG: self.key,
            "FCN_VERSION": package_version(),
            "FCN_MODEL": runtime.identity.name,
            "FCN_MODEL_SHA256": runtime.identity.sha256,
            "FCN_RUNTIME": f"{runtime.identity.runtime} {runtime.identity.precision}",
            "FCN_BANDS": self.bands.describe(),
            "FCN_TILING": json.dumps(self.tiles.describe() | {"tiles": self.tile_count}),
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
            areas = pixel_areas(self.place, Window(part.top, 0, height, width)) if self.in_metres else np.ones((height, 1))
            for row_ids, row_areas in zip(part.ids, areas, strict=True):
                if len(row_areas) == 1:  # counting whole numbers takes half as long
                    self.totals += row_areas * np.bincount(row_ids, minlength=VOID + 1)
                else:
                    self.totals += np.bincount(row_ids, row_areas, VOID + 1)
            yield part

    def in_words(self, labels: LabelSet, words: str = "without data") -> str:
        """The areas in a line, the largest first and void last, in hectares or in percent of the pixels. words: for void."""
        order = sorted(labels.classes, key=lambda label: -self.totals[label.id])
        unit, scale = ("hectares", 1e-4) if self.in_metres else ("percent", 100 / max(1.0, float(self.totals.sum())))
        present = [f"{label.name} {self.totals[label.id] * scale:.3g}" for label in order if self.totals[label.id]]
        void = f"; {words} {self.totals[VOID] * scale:.3g}" if self.totals[VOID] else ""
        return f"{unit} by class: {', '.join(present) or 'none'}{void}"


def plan_work(request: SceneRequest, scene: Scene, runtime: Runtime) -> SceneWork:
    """How the scene is segmented.

    Raises `SceneError`, `TilingError`, and `WrongParameter` for a class or a confidence that the network lacks.
    """
    _check_output(request, scene, runtime)
    manifest, confidence = runtime.manifest, _has_confidence(request, runtime)
    bands = choose_bands(scene, request.bands, request.scale, manifest.preprocessing.channels)
    working_size, gsd = scene.size, request.gsd
    if gsd is None and scene.place.is_on_earth:
        gsd = manifest.preprocessing.gsd
    if gsd is not None:
        working_size = scaled_size(scene.place, gsd, LARGEST_FACTOR, scene.name)
        if shrinks_too_far(max(scene.size), max(working_size)):
            raise SceneParameter(
                f"{scene.name} shows too little ground for pixels of {gsd:.3g} m: {scene.size[1]}x{scene.size[0]} pixels "
                f"would become {working_size[1]}x{working_size[0]}, and the network needs {SIDES[0]} along the longer side; "
                "give a smaller --gsd"
            )
    tile = Segmenter(runtime).tile(request.tile)
    tiles = plan_tiles(working_size, tile, request.overlap, request.blend)
    network = (runtime.identity, runtime.file_sha256)
    area = read_area(request.extent, scene.place, scene.name) if request.extent else None
    runs = _runs(area, scene.size, tiles, runtime) if area else np.ones((len(tiles.tops), len(tiles.lefts)), np.bool_)
    return SceneWork(request, (request.source, *scene.files), scene.place, bands, tiles, confidence, network, area, runs)


def plan_works(requests: Sequence[SceneRequest], scene: Scene, runtime: Runtime) -> list[SceneWork]:
    """The work for each output of a scene; the requests differ in outputs alone. Raises as `plan_work`."""
    first = plan_work(requests[0], scene, runtime)
    for each in requests[1:]:
        _check_output(each, scene, runtime)
    return [replace(first, request=each, confidence=_has_confidence(each, runtime)) for each in requests]


def common_work(works: Sequence[SceneWork]) -> SceneWork:
    """The one whose rows have what each of the others needs."""
    return next((work for work in works if work.confidence), works[0])


def _runs(area: Area, size: Size, tiles: TilePlan, runtime: Runtime) -> Mask:
    """Which tiles have a cell that a pixel of the area depends on, bool (rows, columns). size: of the scene."""
    centre = first_centre(runtime.stride, runtime.grid) + 0.5
    spans = []
    for origins, side, length, extent in zip((tiles.tops, tiles.lefts), tiles.tile, size, tiles.size, strict=True):
        first, last = (np.add(origins, reach) * (length / extent) - 0.5 for reach in (centre - runtime.stride, centre + side))
        spans.append((np.ceil(first - ROUNDING) + 0.5, np.ceil(last + ROUNDING) - 0.5))  # of pixels' centres
    return np.array([area.meets(top, bottom, *spans[1]) for top, bottom in zip(*spans[0], strict=True)])


def _source_identity(source: str) -> str:
    """What identifies a file: its sha256, so that copies of a scene give equal bytes. An address stands for itself.

    For an .aux.xml: its text without statistics and white space; empty if it has nothing else.
    """
    if "://" in source:
        return source
    if source.endswith(".aux.xml"):
        text, rest = "", Path(source).read_text("utf-8", "replace")
        while rest != text:
            text, rest = rest, STATISTICS.sub("", rest)
        return text
    status = os.stat(source)
    return _sha256(source, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, change_ns: int) -> str:
    """The digest of a file of this size and time of change."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_confidence(request: SceneRequest, runtime: Runtime) -> bool:
    """Whether the rows also have the confidence of each pixel."""
    return request.rendering.needs_confidence_map and runtime.manifest.has_logits


def _check_output(request: SceneRequest, scene: Scene, runtime: Runtime) -> None:
    """Raises as `plan_work` for an output that scene or network do not allow, or that would overwrite what is read."""
    place = scene.place
    for file in (*scene.files, (request.extent or "").partition(LAYER)[0]):
        if os.path.realpath(file) == os.path.realpath(request.out):
            raise SceneError(f"{request.out} would overwrite {file}, which is read; give another -o")
    require_confidence(runtime, request.rendering)
    if request.is_polygons:
        metres_per_pixel(place, scene.name)  # raises where there are none
        if request.kind == "geojson":
            place.to_degrees([[place.size[1] / 2, place.size[0] / 2]])  # likewise
        object_ids(request.classes, runtime.manifest.labels.classes)  # raises for a class that the network lacks


def segment_work(
    work: SceneWork, scene: Scene, runtime: Runtime, submit: Submit, ahead: int, first_row: int = 0
) -> Generator[ClassRows]:
    """The rows of classes of the scene, from this row on. Those above and below the area are void, and are not read."""
    top, bottom = work.wanted_rows
    yield from _void_rows(work, first_row, top)
    fill = np.array(runtime.manifest.preprocessing.neutral, np.uint8)
    temperature = Segmenter(runtime).temperature if work.confidence else None
    void_tile: Tile = np.broadcast_to(fill, (*work.tiles.tile, len(fill)))
    source, row = SceneSource(scene, work.bands, work.tiles.size, fill, work.area), max(first_row, top)
    if row < bottom:
        rows = segment_scene(
            source, scene.size, work.tiles, runtime, submit, ahead=ahead, void_tile=void_tile, temperature=temperature,
            first_row=row, runs=work.runs,
        )  # fmt: skip
        with closing(rows) as parts:
            for part in parts:
                yield part.until(bottom)
                if part.bottom >= bottom:
                    break
    yield from _void_rows(work, max(row, bottom), scene.size[0])


def _void_rows(work: SceneWork, first: int, last: int) -> Iterator[ClassRows]:
    """Rows without any class, a few at a time."""
    for top in range(first, last, VOID_ROWS):
        shape = min(VOID_ROWS, last - top), work.place.size[1]
        yield ClassRows(top, np.full(shape, VOID, np.uint8), np.zeros(shape, np.uint8) if work.confidence else None)


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
