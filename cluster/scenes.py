"""`fcn-bulk` for scenes: rows of a scene are parts, which the nodes segment; the driver joins them to one file.

A part begins at any row, and has the rows of one machine: it also runs the tiles above it that its first rows depend on. Its
rows go to a working file beside the result, in a folder that every node sees, so that `--resume` goes on behind them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cli.local import Network
from cli.report import describe, tell
from cli.scenes import status_of
from common.whole_file import refuse_link
from imaging.georeferenced.errors import SceneError
from imaging.georeferenced.scene import open_scene
from model.inference.runtime import Runtime
from model.inference.scenes.outputs import existing_key, write_output
from model.inference.scenes.request import SceneRequest
from model.inference.scenes.rows import ClassRows
from model.inference.scenes.rows_file import RowsFile
from model.inference.scenes.work import SceneWork, plan_work, running, segment_work
from model.labels import LabelSet

PARTS = ".parts"
"""The ending of the folder beside the result that has the finished rows of parts."""
LEAST_TILE_ROWS = 8  # of a part: one more runs for each
PARTS_PER_TASK = 4  # so that all nodes end at about the same time


@dataclass(frozen=True)
class SceneParts:
    """What the driver knows of a scene: its rows and their parts, and what the result says.

    network: with the instructions of the first node. rows_key: what the rows depend on. spans: (first row, row after the last)
    of each part.
    """

    work: SceneWork
    network: Network
    labels: LabelSet
    facts: Mapping[str, str]
    rows_key: str
    spans: tuple[tuple[int, int], ...]


def plan_parts(request: SceneRequest, network: Network, tasks: int) -> SceneParts:
    """The parts of a scene for so many tasks at a time. Runs on a node. Raises as `segment_scenes` of the command line."""
    runtime = _load(network)
    with open_scene(request.source) as scene:
        work = plan_work(request, scene, runtime)
        first, last = work.wanted_rows
        count = max(1, min(tasks * PARTS_PER_TASK, int(np.count_nonzero(work.runs.any(1))) // LEAST_TILE_ROWS))
        bounds = [0, *(first + (last - first) * index // count for index in range(1, count)), scene.size[0]]
        network = replace(network, cpu_isa=runtime.identity.instructions or network.cpu_isa)
        return SceneParts(work, network, runtime.manifest.labels, work.facts(runtime), work.rows_key, tuple(pairwise(bounds)))


def segment_part(request: SceneRequest, parts: SceneParts, index: int) -> int:
    """Segments a part and writes its rows, and gives their number. Runs on a node.

    With `request.resume`, goes on behind the rows that are there. Raises `SceneError` if this node would give other rows than
    the first one: another file, runtime, precision or instructions. Else raises as `segment_scenes` of the command line.
    """
    runtime, (first, last) = _load(parts.network), parts.spans[index]
    with open_scene(request.source) as scene:
        work = plan_work(request, scene, runtime)
        if work.rows_key != parts.rows_key:
            raise SceneError(
                f"this node would give {scene.name} other classes than the first one; give all nodes the same weights file, "
                "package and scene, and say --runtime, --precision and --cpu-isa"
            )
        with (
            part_file(request, parts, index, resume=request.resume) as rows,
            running(runtime) as (submit, ahead),
            closing(segment_work(work, scene, runtime, submit, ahead, rows.next_row)) as pieces,
        ):
            for piece in pieces:
                rows.append(piece.until(last))
                if rows.is_complete:
                    break
    return last - first


def part_file(request: SceneRequest, parts: SceneParts, index: int, *, resume: bool) -> RowsFile:
    """The rows of a part. Raises `OSError`."""
    folder = Path(request.out + PARTS)
    refuse_link(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path, size, confidence = folder / f"{index:05}-of-{len(parts.spans):05}.rows", parts.work.place.size, parts.work.confidence
    classes, span = len(parts.labels), parts.spans[index]
    return RowsFile(path, parts.rows_key, size, classes, confidence=confidence, resume=resume, span=span)


def join(request: SceneRequest, parts: SceneParts) -> None:
    """Writes the result from the rows of all parts, and removes these. Raises `OSError` if rows are missing."""
    for line in write_output(request, parts.work.place, list_rows(request, parts), parts.labels, parts.facts):
        tell(line, "fcn-bulk")
    folder = Path(request.out + PARTS)
    for path in folder.glob(f"{'[0-9]' * 5}-of-{'[0-9]' * 5}.rows"):  # also those of a run with other parts
        path.unlink()
    with suppress(OSError):  # it has files of another's
        folder.rmdir()


def list_rows(request: SceneRequest, parts: SceneParts) -> Iterator[ClassRows]:
    """The rows of all parts, from top to bottom. Raises `OSError` if some are missing."""
    for index in range(len(parts.spans)):
        with part_file(request, parts, index, resume=True) as rows:
            if not rows.is_complete:
                raise OSError(f"{rows.path} lacks rows from {rows.next_row} on; run it again with --resume")
            yield from rows


def segment_scenes(ray: Any, args: argparse.Namespace, requests: Sequence[SceneRequest], network: Network) -> int:
    """Segments scenes on the cluster, and returns the exit status. A scene that fails is told, and the others go on."""
    resources = {"num_cpus": args.cpus, "num_gpus": args.gpus}
    tasks = args.max_actors or max(args.min_actors, int(ray.cluster_resources().get("CPU", 1) // args.cpus))
    plan, work = ray.remote(**resources)(plan_parts), ray.remote(**resources)(segment_part)
    plans = {request: plan.remote(request, network, tasks) for request in requests}
    jobs: dict[SceneRequest, tuple[SceneParts, list[Any]]] = {}
    failures = 0
    for request, reference in plans.items():
        try:
            parts = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            failures += _report(request, error)
            continue
        if request.resume and existing_key(request) == parts.work.key:
            tell(f"{request.out} is done and up to date", "fcn-bulk")
            continue
        if remark := parts.work.bands.remark:
            tell(remark, "fcn-bulk")
        jobs[request] = parts, [work.remote(request, parts, index) for index in range(len(parts.spans))]
    for request, (parts, references) in jobs.items():
        try:
            with tqdm(total=parts.work.tile_count, unit="tile", disable=None, desc=request.source) as bar:
                for reference, (_, last) in zip(references, parts.spans, strict=True):
                    ray.get(reference)
                    bar.update(parts.work.tiles_above(last) - bar.n)
            join(request, parts)
        except (ray.exceptions.RayTaskError, OSError, SceneError) as error:
            failures += _report(request, error)
    return status_of(failures, len(requests))


def _report(request: SceneRequest, error: Exception) -> int:
    cause = getattr(error, "cause", None) or error
    advice = "; finished rows are kept, and --resume goes on" if Path(request.out + PARTS).exists() else ""
    tell(f"{request.source}: {describe(cause)}{advice}", "fcn-bulk")
    return 1


@lru_cache(maxsize=1)
def _load(network: Network) -> Runtime:
    """The network, which a process loads once for all of its tasks."""
    return network.load()
