"""Segments scenes of up to ten gigapixels: memory by the width alone, and the rate of the network."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.harness.images import ONE_MEGAPIXEL, photos
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import ROOT
from model.inference.loading import load_runtime
from model.inference.runtime import Runtime, Tile
from model.weights_file import DEFAULT_WEIGHTS, find_files

WIDTH = 100_000
HEIGHTS = 10_000, 40_000, 100_000  # 1, 4 and 10 gigapixels
DENSE = 4096, 6144  # (height, width) of the scene for the rate
ROUNDS = 3
SEGMENT = "import sys; from cli.start import segment; sys.exit(segment())"
MOST_BYTES = 1.5e9

TEXT = """\
`fcn-segment scene.tif -o out.tif` with the default network. Memory: the peak of the process for scenes that are {width:,}
pixels wide, of {gigapixels} gigapixels; one of 500 squares of 1024 pixels has photos, the rest no data, where every block is
read and written, and the network does not run. Rate: a scene of {megapixels:.0f} megapixels of photos, JPEG in tiles, from
opening it to the finished file, in turn with its tiles in the same scheduler alone. Reading, classes and writing use the same
cores, so the ratio of the rates is at most that of the processor seconds."""


def run(*, quick: bool) -> Section:
    heights = [height // 20 for height in HEIGHTS] if quick else HEIGHTS
    dense = (1024, 1536) if quick else DENSE
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        scenes, alone = costs(place, dense)
        peaks = [peak_bytes(place, height) for height in heights]
    rows = [
        Row.of("scene, from opening it to the finished file", [cost.rate for cost in scenes], "megapixels/s"),
        Row.of("the network alone on its tiles", [cost.rate for cost in alone], "megapixels/s"),
        Row.of("scene, processor seconds / wall time", [cost.cores for cost in scenes], "cores"),
        Row.of("the network alone, processor seconds / wall time", [cost.cores for cost in alone], "cores"),
    ]
    sizes = [f"{height * WIDTH / 1e9:g}" for height in heights]
    for size, (peak, seconds) in zip(sizes, peaks, strict=True):
        rows.append(Row.of(f"{size} gigapixels, peak memory", [peak / 1e6], "MB"))
        rows.append(Row.of(f"{size} gigapixels, time", [seconds], "s"))
    memory = [peak for peak, _ in peaks]
    ratios = [
        Ratio("rate of the scene / of the network alone on its tiles", _ratio(scenes, alone, "rate"), at_least=0.95),
        Ratio("processor seconds of the network alone / of the scene", _ratio(alone, scenes, "processor_s")),
        Ratio("largest / smallest peak memory", max(memory) / min(memory), at_most=1.1),
        Ratio("largest peak memory, in GB", max(memory) / 1e9, at_most=MOST_BYTES / 1e9),
    ]
    text = TEXT.format(width=WIDTH, gigapixels=", ".join(sizes), megapixels=dense[0] * dense[1] / 1e6)
    return Section("Scenes", text, rows, ratios)


def _ratio(above: list[Cost], below: list[Cost], figure: str) -> float:
    """The median of a figure's ratio in each round."""
    return float(median(getattr(a, figure) / getattr(b, figure) for a, b in zip(above, below, strict=True)))


def photos_side_by_side(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The photos of the documentation, repeated to this size: uint8 (height, width, 3)."""
    photo = np.concatenate([np.asarray(Image.open(io.BytesIO(each))) for each in photos([ONE_MEGAPIXEL])], 1)
    rows, columns = -(-height // photo.shape[0]), -(-width // photo.shape[1])
    return np.ascontiguousarray(np.tile(photo, (rows, columns, 1))[:height, :width])


def write_scene(path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]], **options: Any) -> None:
    height, width = pixels.shape[:2]
    with _new_scene(path, height, width, **options) as file:
        file.write(np.moveaxis(pixels, 2, 0))


def write_sparse(path: Path, height: int) -> None:
    """A scene that is `WIDTH` pixels wide, with a photo in few places."""
    import rasterio

    photo = np.moveaxis(np.maximum(photos_side_by_side(1024, 1024), 1), 2, 0)
    random = np.random.default_rng(0)
    with _new_scene(path, height, WIDTH, nodata=0, sparse_ok=True, bigtiff="yes") as file:
        for _ in range(max(1, height * WIDTH // (500 << 20))):
            row, column = random.integers(0, max(1, height // 1024)), random.integers(0, WIDTH // 1024)
            rows = min(1024, height)
            window = rasterio.windows.Window(int(column) * 1024, int(row) * 1024, 1024, rows)
            file.write(photo[:, :rows], window=window)


def _new_scene(path: Path, height: int, width: int, **options: Any) -> Any:
    import rasterio
    from affine import Affine

    facts = {"compress": "deflate", "transform": Affine(0.1, 0, 448_000, 0, -0.1, 5_412_000)} | options
    return rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=3, dtype="uint8", crs="EPSG:32632", tiled=True,
        blockxsize=512, blockysize=512, interleave="pixel", **facts,
    )  # fmt: skip


def peak_bytes(folder: Path, height: int) -> tuple[int, float]:
    """The peak memory of the command for a sparse scene of this height, and its seconds. Raises `RuntimeError`."""
    scene, out = folder / "sparse.tif", folder / "out.tif"
    write_sparse(scene, height)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", SEGMENT, str(scene), "-o", str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"fcn-segment failed: {errors.strip()[-300:]}")
    seconds = time.perf_counter() - start
    for path in (scene, out):
        path.unlink()
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), seconds


@dataclass(frozen=True)
class Cost:
    """The time of a scene or of the network on its tiles. cores: processor seconds a second of wall time."""

    megapixels: float
    wall_s: float
    processor_s: float

    @property
    def rate(self) -> float:
        return self.megapixels / self.wall_s

    @property
    def cores(self) -> float:
        return self.processor_s / self.wall_s

    @classmethod
    def of(cls, megapixels: float, work: Callable[[], object]) -> Cost:
        wall, processor = time.perf_counter(), time.process_time()
        work()
        return cls(megapixels, time.perf_counter() - wall, time.process_time() - processor)


def costs(folder: Path, size: tuple[int, int]) -> tuple[list[Cost], list[Cost]]:
    """Of a scene without void, and of the network alone on as many tiles, in turn in one process."""
    from cli.scenes import segment_one
    from imaging.georeferenced.scene import open_scene
    from model.inference.scenes.request import SceneRequest
    from model.inference.scenes.work import plan_work

    scene, out = folder / "dense.tif", folder / "dense-out.tif"
    pixels = photos_side_by_side(*size)
    write_scene(scene, pixels, compress="jpeg", photometric="ycbcr")
    runtime = load_runtime(find_files(DEFAULT_WEIGHTS))
    request = SceneRequest(str(scene), str(out))
    with open_scene(str(scene)) as reader:
        tiles = plan_work(request, reader, runtime).tiles
    sample = list(islice(tiles.tiles(pixels), 64))
    run_network(runtime, sample, 64)  # compiles what a crowd of tiles needs
    megapixels, scenes, alone = size[0] * size[1] / 1e6, list[Cost](), list[Cost]()
    for _ in range(ROUNDS):
        alone.append(Cost.of(megapixels, lambda: run_network(runtime, sample, len(tiles))))
        scenes.append(Cost.of(megapixels, lambda: segment_one([request], runtime)))
    return scenes, alone


def run_network(runtime: Runtime, sample: list[Tile], count: int) -> None:
    """Runs the network alone on so many tiles."""
    from model.inference.scenes.work import running

    with running(runtime) as (submit, ahead):
        futures = deque[Any]()
        for index in range(count):
            futures.append(submit(sample[index % len(sample)]))
            if len(futures) > ahead:
                futures.popleft().result()
        while futures:
            futures.popleft().result()
