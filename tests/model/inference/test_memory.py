"""What a plan promises to take at most bounds what segmenting takes, in a process of its own each, on the most mixed logits."""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging import decoding_memory
from tests.support.images import encode
from tests.support.imaging.peaks import printed
from tests.support.imaging.scenes import scene_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process's memory is read from /proc")
PROGRAM = """
import json, sys
import numpy as np
from imaging.errors import AnswerTooLarge
from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.inference.small_regions import parse_area
from model.weights_file import DEFAULT_WEIGHTS, find_files

def noise(tiles):
    for height, width, _ in (tile.shape for tile in tiles):
        yield rng.standard_normal((classes, height // stride, width // stride)).astype(np.float32)

side, quality, rendering, area = sys.argv[1], sys.argv[2], Rendering(**json.loads(sys.argv[3])), parse_area(sys.argv[4])
segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), "openvino", "cpu", "float32", threads=1))
segmenter.runtime.stride = int(sys.argv[5])
classes, stride, rng = len(segmenter.manifest.labels), segmenter.runtime.stride, np.random.default_rng(0)
data = sys.stdin.buffer.read()
side = int(side) if side.isdecimal() else side
options = Options(side=side, quality=quality, rendering=rendering, min_area=area, fill_holes=area)
segmenter.prepare(options)
plan = segmenter.plan(data, options)
promised, before = segmenter.memory_bytes(data, plan), resident("VmRSS")
try:
    segmenter.segment(data, plan, noise)
    outcome = "answered"
except AnswerTooLarge:  # a large image's noise has more regions than are answered; counting them is bounded, too
    assert rendering.format == "coco" or rendering.polygons or rendering.chooses_regions or area.amount
    outcome = "refused"
print(outcome, promised, resident("VmHWM") - before)
"""
SHAPES = """
import sys
import numpy as np
from model.inference.runtimes import openvino_runtime
from model.inference.loading import load_runtime
from model.weights_file import DEFAULT_WEIGHTS, find_files

openvino_runtime.KEPT_LAYERS = int(sys.argv[1]) or openvino_runtime.KEPT_LAYERS
runtime = load_runtime(find_files(DEFAULT_WEIGHTS), "openvino", "cpu", "int8", threads=1)
sizes = []
for rows, columns in [(8, 12), *((rows, columns) for columns in range(1, 13) for rows in range(1, 9))]:
    runtime.logits([np.zeros((32 * rows, 32 * columns, 3), np.uint8)])
    sizes.append(resident("VmRSS"))
print(sizes[-1] - sizes[32])
"""
OPENVINO_KEEPS = 5000  # layers, unless told otherwise
PLAIN = ("png", "grey", "binary", "color", "overlay", "cutout", "confidence", "json", "coco", "hf", "npz")
RENDERINGS: dict[str, dict[str, Any]] = {
    **{format: {"format": format} for format in PLAIN},
    **{f"{name} {kind}": {"format": name, "image_format": kind} for name in ("color", "overlay") for kind in ("jpeg", "webp")},
    "cutout webp": {"format": "cutout", "image_format": "webp"},
    "cutout jpeg": {"format": "cutout", "image_format": "jpeg", "background": "#ffffff"},
    "json with maps": {"format": "json", "mask": "png", "confidence": True},
    "array": {"format": "json", "mask": "array"},
    "polygons": {"format": "json", "mask": "polygons"},
    "coco polygons": {"format": "coco", "mask": "polygons"},
    "probabilities": {"format": "npz", "probabilities": True},
    "binary largest": {"format": "binary", "objects": "largest", "min_object_confidence": 0.1},
    "overlay within": {"format": "overlay", "width": 1500},
}
TILED = {"tiled": True, "blockxsize": 512, "blockysize": 512}
FAST = [("png", "auto", 4.0), ("json", "native", 1.0)]
SLOW = [
    *((name, side, 1.0 if name == "array" else 4.0) for name in RENDERINGS for side in ("auto", "native")),
    *(
        (name, "native", 16.0)
        for name in ("png", "cutout", "overlay jpeg", "overlay webp", "color webp", "json with maps", "coco", "polygons")
    ),
    *((name, "8000", 4.0) for name in ("png", "json", "coco")),
]
HIGH = [("png", "auto", 4.0), ("json with maps", "native", 4.0), ("png", "native", 16.0), ("png", "8000", 4.0)]


@cache
def photo(megapixels: float) -> bytes:
    side = round((megapixels * 1e6) ** 0.5)
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), np.uint8))
    return encode(np.asarray(coarse.resize((side, side))), "JPEG")


@pytest.mark.parametrize(
    ("name", "side", "megapixels", "quality", "area"),
    [
        *((*case, "standard", "0") for case in FAST),
        ("json", "auto", 1.0, "standard", "300"),
        *(pytest.param(*case, "standard", "0", marks=pytest.mark.long) for case in SLOW if case not in FAST),
        *(pytest.param(*case, "high", "0", marks=pytest.mark.long) for case in HIGH),
        *(pytest.param(*case, "standard", "300", marks=pytest.mark.long) for case in [*HIGH, ("npz", "native", 1.0)]),
        *(pytest.param(*case, "high", "300", marks=pytest.mark.long) for case in HIGH),
    ],
)
def test_segmenting_stays_within_what_its_plan_promises(
    name: str, side: str, megapixels: float, quality: str, area: str
) -> None:
    assert_within_promise(photo(megapixels), side, quality, RENDERINGS[name], area)


@pytest.mark.parametrize(
    ("name", "stride", "megapixels"),
    [
        ("png", 1, 1.0),
        *(pytest.param(name, stride, 1.0, marks=pytest.mark.long) for name in ("json", "cutout") for stride in (1, 2, 4, 16)),
        *(pytest.param(name, stride, 6.0, marks=pytest.mark.long) for name in ("png", "npz") for stride in (1, 4)),
    ],
)
def test_so_it_does_where_a_cell_of_logits_has_other_sides(name: str, stride: int, megapixels: float) -> None:
    assert_within_promise(photo(megapixels), "native", "standard", RENDERINGS[name], "0", stride)


@pytest.mark.parametrize(
    ("format", "side", "kind", "options"),
    [
        ("geotiff", "auto", np.uint8, {}),
        *(pytest.param(format, side, kind, options, marks=pytest.mark.long)
          for format in ("geotiff", "geojson")
          for side in ("auto", "native")
          for kind in (np.uint8, np.uint16, np.float32)
          for options in ({}, TILED, {"blockysize": 2000, "interleave": "pixel"})),
    ],
)  # fmt: skip
def test_so_it_does_with_scenes(format: str, side: str, kind: type[Any], options: dict[str, Any]) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (250, 250, 5), np.uint8)
    samples = np.kron(coarse, np.ones((8, 8, 1), np.uint8)).astype(kind)
    data = scene_file(samples, compress="deflate", **options)
    assert_within_promise(data, side, "standard", {"format": format}, "0")


def assert_within_promise(data: bytes, side: str, quality: str, rendering: dict[str, Any], area: str, stride: int = 8) -> None:
    arguments = side, quality, json.dumps(rendering), area, str(stride)
    outcome, promised_bytes, peak_bytes = printed(PROGRAM, *arguments, data=data).split()
    assert int(peak_bytes) < int(promised_bytes)
    if outcome == "answered":  # a refused answer ends before it takes what its plan promises
        assert int(promised_bytes) < 7 * int(peak_bytes) + decoding_memory.FIXED_BYTES


def grown_by_shapes(layers: int = 0) -> int:
    """Bytes by which 64 more shapes of tiles let the process grow, where the runtime keeps so many layers (0: as served)."""
    return int(printed(SHAPES, str(layers)))


@pytest.mark.long
def test_memory_grows_by_a_fraction_of_what_the_shapes_of_tiles_take_that_have_been_seen() -> None:
    assert grown_by_shapes() < grown_by_shapes(OPENVINO_KEEPS) / 4  # measured: a fifteenth
