"""Where a request's milliseconds go, and what merging cells instead of pixels changes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.images import ONE_MEGAPIXEL, PHOTOS, photo, segmenter
from benchmarks.results import Ratio, Row, Section
from benchmarks.timing import milliseconds
from cli.local import Segmenter
from imaging.decoding import Limits, decode
from imaging.encoding import mask_png
from model.predictor import Predictor, Tile
from model.scaling import resize_image
from model.segmentation import ClassMap, Options, Run, plan_image, run_in_batches, segment
from model.tiling import Size
from model.upsampling import FixedUpsample
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights

CHART = "stages.png"
TEXT = """\
An image of one megapixel (1152x864, JPEG), alone on all cores, as a mask at the default side. The network in each precision
takes one 384x480 tile. `merging pixels` upsamples every tile before it is merged; `merging cells`, which is served, averages
the network's cells and upsamples once. Their class maps are compared on the photographs in `docs/`, enlarged."""


def run(*, quick: bool, charts: Path) -> Section:
    times = 3 if quick else 25
    segment_bytes = segmenter()
    torch.set_num_threads(segment_bytes.lanes.threads)
    image = photo("coffee", ONE_MEGAPIXEL)
    taken = stages(segment_bytes, image, times)
    charts.mkdir(parents=True, exist_ok=True)
    draw({name: statistics.median(values) for name, values in taken.items()}, charts / CHART)
    rows = [Row.of(name, values, "ms") for name, values in taken.items()]
    weights = load_weights(find_weights(DEFAULT_WEIGHTS))
    networks = {"float32": Predictor(weights, "cpu", "float32"), "bfloat16": Predictor(weights, "cpu", "bfloat16")}
    tile = np.random.default_rng(0).integers(0, 256, (384, 480, 3), dtype=np.uint8)
    alone = {name: milliseconds(lambda p=p: p.logits([tile]), times) for name, p in networks.items()}  # type: ignore[misc]
    rows += [Row.of(f"network, {name}", values, "ms") for name, values in alone.items()]
    cells, pixels = merging(networks["float32"], decode(image, Limits()), 1 if quick else 9)
    rows += [Row.of("merging cells", cells, "ms"), Row.of("merging pixels", pixels, "ms")]
    ratios = [
        Ratio.of("network, float32 / bfloat16", alone["float32"], alone["bfloat16"]),
        Ratio.of("merging pixels / merging cells, with the network", pixels, cells),
        Ratio("pixels on which both agree, photographs", agreement(networks["float32"], 512), at_least=0.999),
        Ratio("pixels on which both agree, enlarged to 1536", agreement(networks["float32"], 1536), at_least=0.999),
    ]
    return Section("The corridor", TEXT, rows, ratios, [f"results/{CHART}"])


def stages(segmenter: Segmenter, data: bytes, times: int) -> dict[str, list[float]]:
    """Milliseconds of every stage, one after the other."""
    predictor, limits = segmenter.predictor, Limits()
    manifest, names = predictor.manifest, ("decode", "scale", "network", "merge and argmax", "encode")
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(times + 2):
        marks = [time.perf_counter()]
        size = ONE_MEGAPIXEL[1], ONE_MEGAPIXEL[0]
        plan = plan_image(size, Options(), manifest.preprocessing.side)
        image = decode(data, limits, plan.size)
        marks.append(time.perf_counter())
        image = resize_image(image, plan.size)
        marks.append(time.perf_counter())
        logits = [predictor.logits([plan.cut(image, region)])[0] for region in plan.regions]
        marks.append(time.perf_counter())
        class_map = _class_map(predictor, image, Options(side="native"), handing_out(logits), size)
        marks.append(time.perf_counter())
        mask_png(class_map, manifest.labels.palette)
        marks.append(time.perf_counter())
        if turn >= 2:
            for name, before, after in zip(names, marks[:-1], marks[1:], strict=True):
                found[name].append((after - before) * 1000)
    return found


def handing_out(logits: list[Tensor]) -> Run:
    """A network whose logits are there already."""
    return lambda tiles: iter(logits)


def at_full_size(predictor: Predictor) -> Run:
    """The network's tiles, each upsampled to pixels before it is merged."""
    final = FixedUpsample(predictor.stride, predictor.grid)

    def run(tiles: Iterator[Tile]) -> Iterator[Tensor]:
        return (final.upsample(predictor.logits([tile]), (tile.shape[0], tile.shape[1]))[0] for tile in tiles)

    return run


def merging(predictor: Predictor, image: Tile, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds from pixels to class map, merging cells and merging pixels, in turns."""
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(times + 1):
        for values, call in zip(found, (cells_map, pixels_map), strict=True):
            started = time.perf_counter()
            call(predictor, image, Options())
            if turn:
                values.append((time.perf_counter() - started) * 1000)
    return found


def cells_map(predictor: Predictor, image: Tile, options: Options) -> ClassMap:
    return _class_map(predictor, image, options, run_in_batches(predictor))


def pixels_map(predictor: Predictor, image: Tile, options: Options) -> ClassMap:
    """The reference: every logit of every pixel, from tiles merged at full size."""
    return _class_map(predictor, image, options, at_full_size(predictor))


def _class_map(predictor: Predictor, image: Tile, options: Options, run: Run, size: Size | None = None) -> ClassMap:
    manifest = predictor.manifest
    plan = plan_image((image.shape[0], image.shape[1]), options, manifest.preprocessing.side)
    return segment(image, plan, run, num_classes=len(manifest.labels), grid=predictor.grid, size=size).class_map


def agreement(predictor: Predictor, side: int) -> float:
    """The share of pixels with the same class, over the photographs worked on at this side."""
    same, count = 0, 0
    for name in PHOTOS:
        image = decode(photo(name, (side, side * 2 // 3)), Limits())
        one, other = (call(predictor, image, Options(side=side)) for call in (cells_map, pixels_map))
        same, count = same + int((one == other).sum()), count + one.size
    return same / count


def draw(taken: dict[str, float], path: Path) -> None:
    figure = Figure(figsize=(9, 1.6), layout="constrained")
    axes, left = figure.subplots(), 0.0
    for index, (name, value) in enumerate(taken.items()):
        axes.barh(0, value, left=left, color=f"C{index}", label=f"{name} {value:.1f}")
        left += value
    axes.set(xlabel="milliseconds of a one-megapixel image", yticks=[])
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(taken), frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
