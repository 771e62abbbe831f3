"""`fcn-segment` for scenes: rasters with coordinates, of any size. Needs the extra `geo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tqdm import tqdm

from cli.local import Network
from cli.report import DONE, NOTHING_DONE, SOME_FAILED, describe, tell
from cli.start import ended_at_once
from imaging.georeferenced.errors import SceneError
from imaging.georeferenced.place import WARPS, metres_per_pixel
from imaging.georeferenced.scene import Scene, open_scene
from model.inference.loading import unused_gpu
from model.inference.runtime import Runtime
from model.inference.scenes.outputs import check_outputs, existing_key, write_output, write_style
from model.inference.scenes.request import SceneRequest
from model.inference.scenes.rows import ClassRows
from model.inference.scenes.rows_file import ENDING, RowsFile
from model.inference.scenes.work import ClassAreas, SceneWork, all_rows, common_work, plan_works, running


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
    path = Path(first.out + ENDING)
    with open_scene(first.source) as scene:
        open_works = list[SceneWork]()
        for work in plan_works(requests, scene, runtime):
            if first.resume and not path.exists() and existing_key(work.request) == work.key:
                tell(f"{work.request.out} is done and up to date")
                write_style(work.request, runtime.manifest.labels)
            else:
                open_works.append(work)
        if not open_works:
            return
        common = common_work(open_works)
        _tell_work(common, scene, runtime.manifest.preprocessing.gsd)
        for work in open_works:
            Path(work.request.out).parent.mkdir(parents=True, exist_ok=True)
        labels, resume = runtime.manifest.labels, first.resume
        with RowsFile(path, common.rows_key, scene.size, len(labels), confidence=common.confidence, resume=resume) as rows:
            areas = ClassAreas(scene.place)
            with _told_what_is_kept(rows), running(runtime) as (submit, ahead):
                for index, work in enumerate(open_works):
                    with closing(all_rows(common, scene, runtime, rows, submit, ahead)) as parts:
                        shown = (part.shown(first.min_confidence) for part in parts)
                        stream = shown if index else _progress(areas.summed(shown), common)
                        for line in write_output(work.request, work.place, stream, labels, work.facts(runtime)):
                            tell(line)
            rows.remove()
    void = ("unsure", first.min_confidence), ("outside of the extent", common.area), ("without data", True)
    tell(areas.in_words(labels, " or ".join(words for words, is_asked in void if is_asked)))


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
    if work.tiles.size != scene.size:
        words += f", scaled to {work.tiles.size[1]} x {work.tiles.size[0]}"
        if work.request.gsd is None:
            words += f": the weights learned from pixels of {gsd:.3g} m"
    if work.area:
        words += f"; {work.tile_count} of {len(work.tiles)} tiles for the extent"
    tell(words)
    if work.bands.remark:
        tell(work.bands.remark)
    if gsd is not None and work.request.gsd is None and not scene.place.is_on_earth:
        tell(f"the weights learned from pixels of {gsd:.3g} m, and {scene.name} does not say how large its own are")
    if scene.place.crs is None and not scene.place.transform.is_identity:
        tell(f"{scene.name} has a transform and no coordinate system; {work.request.out} has the same transform")
    elif not scene.place.is_known:
        reason = f", since it has {tie} and no transform: {WARPS[tie]} makes one" if (tie := scene.place.tie) else ""
        tell(f"{scene.name} does not say where it lies, nor will {work.request.out}{reason}")


def _progress(parts: Iterable[ClassRows], work: SceneWork) -> Iterator[ClassRows]:
    """The same rows, with a bar of tiles."""
    has_terminal = bool(sys.stderr and sys.stderr.isatty())
    with tqdm(total=work.tile_count, unit="tile", disable=not has_terminal) as bar:
        for part in parts:
            yield part
            bar.update(work.tiles_above(part.bottom) - bar.n)


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
