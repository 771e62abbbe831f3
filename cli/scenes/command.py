"""Segments a scene: rows of classes go to a working file, and from there to the result."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cli.local import Network
from cli.places import is_path, real, version
from cli.report import DONE, NOTHING_DONE, SOME_FAILED, describe, tell
from cli.resume import settings_digest
from cli.scene_request import SceneRequest
from cli.scenes.outputs import check_outputs, class_ids, existing_key, write_output
from cli.scenes.rows_file import ENDING, RowsFile
from cli.start import ended_at_once
from imaging.classes import VOID
from imaging.georeferenced.bands import Bands, choose_bands
from imaging.georeferenced.errors import SceneError
from imaging.georeferenced.place import Place, Window, metres_per_pixel, pixel_areas, scaled_size
from imaging.georeferenced.rows import SceneSource
from imaging.georeferenced.scene import Scene, open_scene
from model.command_line import package_version
from model.inference.loading import unused_gpu
from model.inference.runtime import Runtime, Tile
from model.inference.scaling import LARGEST_FACTOR, SIDES, shrinks_too_far
from model.inference.scenes import ClassRows, ScenePlan, Submit, plan_scene
from model.inference.scenes import segment_scene as segment_rows
from model.inference.scheduler import Scheduler
from model.inference.segmenter import Segmenter
from model.inference.tile_queue import TileQueue
from model.labels import LabelSet
from model.manifest import Manifest


@dataclass(frozen=True)
class SceneWork:
    """How a scene is segmented: everything that the rows of classes depend on. confidence: whether they have it."""

    request: SceneRequest
    place: Place
    bands: Bands
    plan: ScenePlan
    confidence: bool
    identity: str

    @property
    def rows_key(self) -> str:
        """What the rows depend on, as a digest."""
        return settings_digest(self.identity, self.bands.describe(), self.bands.alpha, self.plan, self.confidence)

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
            "FCN_TILING": json.dumps(self.plan.tiles.describe()),
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
        """The areas in a line, the largest first, in hectares or in percent of the pixels with data."""
        order = sorted(labels.classes, key=lambda label: -self.totals[label.id])
        total = max(1.0, float(sum(self.totals[label.id] for label in order)))
        unit, scale = ("hectares", 1e-4) if self.in_metres else ("percent", 100 / total)
        present = [f"{label.name} {self.totals[label.id] * scale:.3g}" for label in order if self.totals[label.id]]
        return f"{unit} by class: {', '.join(present) or 'none, since no pixel has data'}"


def segment_scenes(requests: Sequence[SceneRequest], args: argparse.Namespace) -> int:
    """Runs the command for scenes, and returns its exit status. One of several that fails is told, and the others go on.

    What was finished before an error or Ctrl-C stays in the working file. Raises `OSError`, `SceneError`, `WeightsError`, and
    others.
    """
    check_outputs(requests, force=args.force)
    with ended_at_once("fcn-segment"):
        if args.device == "auto" and (warning := unused_gpu()):
            tell(warning)
        runtime = Network.of(args).load()
    failures, sources = 0, list(dict.fromkeys(request.source for request in requests))
    for source in sources:
        try:
            segment_one([request for request in requests if request.source == source], runtime)
        except (OSError, SceneError) as error:
            if len(sources) == 1:
                raise
            failures += 1
            tell(f"{source}: {describe(error)}")
    return status_of(failures, len(sources))


def status_of(failures: int, count: int) -> int:
    """The exit status of a run of so many scenes."""
    if failures:
        return NOTHING_DONE if failures == count else SOME_FAILED
    return DONE


def segment_one(requests: Sequence[SceneRequest], runtime: Runtime) -> None:
    """Segments a scene with this network, once for all of its outputs. Raises as `segment_scenes`.

    The first output is written while the network runs; the others then from the working file, which is beside the first.
    """
    first = requests[0]
    path, manifest = Path(first.out + ENDING), runtime.manifest
    with open_scene(first.source) as scene:
        works = [plan_work(first, scene, runtime)]
        works += [works[0].to(request, scene.name, manifest) for request in requests[1:]]
        open_works = list[SceneWork]()
        for work in works:
            if first.resume and not path.exists() and existing_key(work.request) == work.key:
                tell(f"{work.request.out} is done and up to date")
            else:
                open_works.append(work)
        if not open_works:
            return
        common = next((work for work in open_works if work.confidence), open_works[0])
        _tell_work(common, scene, manifest.preprocessing.gsd)
        for work in open_works:
            Path(work.request.out).parent.mkdir(parents=True, exist_ok=True)
        labels, resume = manifest.labels, first.resume
        with RowsFile(path, common.rows_key, scene.size, len(labels), confidence=common.confidence, resume=resume) as rows:
            areas = ClassAreas(scene.place)
            with _told_what_is_kept(rows):
                for index, work in enumerate(open_works):
                    with closing(_rows(common, scene, runtime, rows)) as parts:
                        all_rows = parts if index else areas.summed(parts)
                        write_output(work.request, work.place, all_rows, labels, work.facts(runtime))
            rows.remove()
    tell(areas.in_words(labels))


def _rows(work: SceneWork, scene: Scene, runtime: Runtime, rows: RowsFile) -> Generator[ClassRows]:
    """All rows of the scene: those that are kept, then those that the network gives, which it keeps."""
    yield from rows
    if rows.is_complete:
        return
    with (
        running(runtime) as (submit, ahead),
        closing(segment_work(work, scene, runtime, submit, ahead, rows.next_row)) as parts,
    ):
        for part in _progress(parts, rows):
            rows.append(part)
            yield part


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
            raise SceneError(
                f"{scene.name} shows too little ground for pixels of {gsd:.3g} m: {scene.size[1]}x{scene.size[0]} pixels "
                f"would become {working[1]}x{working[0]}, and the network needs {SIDES[0]} along the longer side; give a "
                "smaller --gsd"
            )
    tile = Segmenter(runtime).tile(request.tile)
    plan = plan_scene(scene.size, working, tile, request.overlap, request.blend)
    source = request.source  # what GDAL reads over a network has no version
    identity = repr((runtime.identity, runtime.file_sha256, f"{real(source)} {version(source)}" if is_path(source) else source))
    return SceneWork(request, scene.place, bands, plan, request.is_polygons and manifest.has_logits, identity)


def _check_polygons(request: SceneRequest, place: Place, name: str, manifest: Manifest) -> None:
    if request.is_polygons:
        metres_per_pixel(place, name)  # raises where there are none
        if request.kind == "geojson":
            place.to_degrees([[place.size[1] / 2, place.size[0] / 2]])  # likewise
        class_ids(request, manifest.labels)  # raises for a class that the network lacks


def segment_work(
    work: SceneWork, scene: Scene, runtime: Runtime, submit: Submit, ahead: int, first_row: int = 0
) -> Generator[ClassRows]:
    """The rows of classes of the scene, from this row on."""
    fill = np.array(runtime.manifest.preprocessing.neutral, np.uint8)
    temperature = Segmenter(runtime).temperature if work.confidence else None
    void_tile: Tile = np.broadcast_to(fill, (*work.plan.tiles.tile, len(fill)))
    source = SceneSource(scene, work.bands, work.plan.tiles.size, fill)
    return segment_rows(
        source, work.plan, runtime, submit, ahead=ahead, void_tile=void_tile, temperature=temperature, first_row=first_row
    )


@contextmanager
def running(runtime: Runtime) -> Iterator[tuple[Submit, int]]:
    """A function that starts the network on a tile, and how many tiles to submit ahead."""
    scheduler = Scheduler([runtime], max_batch=None, on_batch=lambda *_: None, on_failure=lambda _: None, clock=time.monotonic)
    queue = TileQueue(math.inf)
    scheduler.start()
    try:
        yield lambda tile: scheduler.submit(queue, tile), scheduler.ahead
    finally:
        scheduler.cancel(queue)
        scheduler.stop()


def _tell_work(work: SceneWork, scene: Scene, gsd: float | None) -> None:
    """Says what the network sees, in a line or two. gsd: metres of the pixels that it learned from."""
    height, width = scene.size
    words = f"{scene.name}: {width} x {height} pixels, bands {work.bands.describe()}"
    if scene.place.is_on_earth:
        try:
            down, right = metres_per_pixel(scene.place, scene.name)
            words += f", {right:.3g} x {down:.3g} m a pixel"
        except SceneError as error:
            words += f", of unknown size on the ground: {error}"
    if work.plan.tiles.size != scene.size:
        words += f", scaled to {work.plan.tiles.size[1]} x {work.plan.tiles.size[0]}"
        if work.request.gsd is None:
            words += f": the weights learned from pixels of {gsd:.3g} m"
    tell(words)
    if work.bands.remark:
        tell(work.bands.remark)
    if gsd is not None and work.request.gsd is None and not scene.place.is_on_earth:
        tell(f"the weights learned from pixels of {gsd:.3g} m, and {scene.name} does not say how large its own are")
    if not scene.place.is_known:
        tell(f"{scene.name} does not say where it lies, nor will {work.request.out}")


def _progress(parts: Generator[ClassRows], rows: RowsFile) -> Iterator[ClassRows]:
    """The same rows, with a bar of pixels, from those that are there already."""
    height, width = rows.size
    has_terminal = bool(sys.stderr and sys.stderr.isatty())
    initial = rows.next_row * width
    with tqdm(total=height * width, initial=initial, unit="px", unit_scale=True, disable=not has_terminal) as bar:
        for part in parts:
            yield part
            bar.update(part.ids.size)


@contextmanager
def _told_what_is_kept(rows: RowsFile) -> Iterator[None]:
    """Says after an error or Ctrl-C which rows are kept; a working file without rows is removed."""
    try:
        yield
    except BaseException:
        if rows.next_row:
            tell(f"rows 0 to {rows.next_row} of {rows.size[0]} are kept in {rows.path}; --resume goes on")
        else:
            rows.remove()
        raise
