"""The work of a job on a scene: a process of its own reads and writes, and the service's scheduler runs the tiles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from pathlib import Path

from app.serving.jobs.job import AREA, WORK, Job, upload_path
from app.serving.jobs.runner import Tell
from app.serving.registry import Model
from app.settings import Settings
from model.inference.merging import Logits
from model.inference.processes.scene_process import SceneTask, scene_process
from model.inference.runtime import Tile
from model.inference.scenes.request import SceneRequest
from model.inference.scenes.rows_file import ENDING
from model.inference.tile_queue import TileQueue


def scene_requests(job: Job, folder: Path, settings: Settings) -> list[SceneRequest]:
    """What the job asks of its scene, for each output. Raises `ValueError` for a wrong value."""
    values = {"overlap": settings.overlap, "blend": settings.blend, **job.parameters}
    if values.get("extent") == AREA:
        values["extent"] = str(folder / WORK / AREA)
    source, work = str(upload_path(folder, 0)), folder / WORK
    return [
        SceneRequest.of(source, str(work / name), values, tile=settings.tile, cog=output == "cog")
        for output, name in job.results.items()
    ]


async def plan_scene(requests: Sequence[SceneRequest], folder: Path, model: Model) -> None:
    """Checks a scene by its header. Raises one of `REFUSALS`, or `ConnectionError` if its process ended."""
    task = SceneTask(model.pickled_runtime, requests, str(folder / WORK), ahead=1)
    async with scene_process(task, model.segmenter) as process:
        await process.plan()


async def segment_scene(settings: Settings, job: Job, folder: Path, model: Model, tell: Tell) -> Mapping[str, int | str]:
    """Writes the results of the job's scene, and gives its remark, if there is one.

    Raises one of `REFUSALS`, `InferenceError` and as `SceneProcess.run`.
    """
    scheduler, requests = model.scheduler, scene_requests(job, folder, settings)
    task = SceneTask(model.pickled_runtime, requests, str(folder / WORK), scheduler.ahead)
    queue = TileQueue(inf, is_background=True)

    def submit(tile: Tile) -> Future[Logits]:
        if queue.seconds:
            tell(0.0)  # this turn has progress: a tile has run
        return scheduler.submit(queue, tile)

    try:
        async with scene_process(task, model.segmenter) as process:
            await process.plan()
            await process.run(submit, tell)
    finally:
        scheduler.cancel(queue)
    for request in requests:
        os.replace(request.out, folder / os.path.basename(request.out))
    with suppress(OSError):  # only now: what is interrupted before is written again from the rows
        os.unlink(requests[0].out + ENDING)
    return {"remark": process.remark} if process.remark else {}
