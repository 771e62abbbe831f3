"""Photos through the default weights: tiles merged as cells against tiles merged pixel by pixel, and no PyTorch needed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model.inference.loading import load_runtime
from model.inference.merging import Logits
from model.inference.plan import Options, Plan
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from model.inference.tiling import Blend
from model.weights_file import DEFAULT_WEIGHTS, find_files
from tests.support.checkout import ROOT
from tests.support.variants import long

Pixels = npt.NDArray[np.uint8]
PHOTOS, SAMPLES = ROOT / "docs" / "photos", ROOT / "app" / "static" / "samples"
CLASSES = {"chelsea": "cat", "cows": "cow", "dog": "dog"}


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    """The default weights, in float32 on the CPU."""
    return load_runtime(find_files(DEFAULT_WEIGHTS), "openvino", "cpu", "float32")


def enlarge(name: str, longer: int) -> Pixels:
    with Image.open(PHOTOS / name) as photo:
        width, height = (round(side * longer / max(photo.size)) for side in photo.size)
        return np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


def by_pixels(runtime: Runtime, image: Pixels, plan: Plan) -> Logits:
    """By definition: each tile's logits upsampled to its pixels, and each pixel's averaged by the tiles' weights there."""
    import torch

    from model.networks.upsampling import FixedUpsample

    tiles, final = plan.tile_plan, FixedUpsample(runtime.stride, runtime.grid)
    shape = tiles.tops[-1] + tiles.tile[0], tiles.lefts[-1] + tiles.tile[1]
    total = np.zeros((len(runtime.manifest.labels), *shape), np.float32)
    for index, region in enumerate(tiles.regions):
        row, column = divmod(index, len(tiles.lefts))
        weights = np.outer(tiles.row_weights[row], tiles.column_weights[column])
        cells = torch.from_numpy(runtime.logits([tiles.cut(image, region)]))
        pixels = final.upsample(cells, tiles.tile)[0].numpy()
        total[:, region.top : region.top + region.height, region.left : region.left + region.width] += pixels * weights
    return total[:, : image.shape[0], : image.shape[1]]


def away_from_seams(plan: Plan, stride: int) -> npt.NDArray[np.bool_]:
    """Where no tile begins or ends within a cell: there one pixel's tiles are not the next one's."""
    far = np.ones(plan.size, bool)
    tops, lefts, (height, width) = plan.tile_plan.tops, plan.tile_plan.lefts, plan.tile_plan.tile
    for axis, (origins, side) in enumerate(((tops, height), (lefts, width))):
        for seam in (*origins[1:], *(origin + side for origin in origins[:-1])):
            far.swapaxes(0, axis)[max(0, seam - stride) : seam + stride] = False
    return far


def test_each_sample_of_the_page_shows_its_class_and_no_other(runtime: Runtime) -> None:
    segmenter = Segmenter(runtime)
    names = runtime.manifest.labels.names
    assert {path.stem for path in SAMPLES.glob("*.jpg")} == set(CLASSES)
    for sample, expected in CLASSES.items():
        counts = np.bincount(segmenter(SAMPLES / f"{sample}.jpg").class_map.ravel(), minlength=len(names))
        shares = {name: count / counts.sum() for name, count in zip(names, counts, strict=True)}
        assert shares[expected] > 0.15
        assert sum(share for name, share in shares.items() if name not in ("background", expected)) < 0.002


@pytest.mark.torch
@pytest.mark.parametrize("name", ["chelsea.jpg", *long("astronaut.jpg", "coffee.jpg")])
@pytest.mark.parametrize(("blend", "least"), [("mean", 0.99), ("hann", 0.999)])
def test_merging_cells_agrees_with_merging_pixels(runtime: Runtime, name: str, blend: Blend, least: float) -> None:
    image, segmenter = enlarge(name, 900), Segmenter(runtime)
    plan = segmenter.plan_size((image.shape[0], image.shape[1]), Options((384, 480), 0.25, blend, "native"))
    assert len(plan.tile_plan) > 4
    class_map = segmenter.infer(image, plan).class_map
    assert len(np.unique(class_map)) > 1
    equal = class_map == by_pixels(runtime, image, plan).argmax(0)
    # a mean of pixels jumps where a tile ends; one of cells goes over to the next tile within a cell
    assert equal.mean() >= least
    assert equal[away_from_seams(plan, runtime.stride)].mean() >= (0.9999 if blend == "mean" else 0.999)


def test_segmenting_a_photo_imports_no_torch() -> None:
    program = """
import sys
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files
segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), "openvino"))
data = open("docs/photos/chelsea.jpg", "rb").read()
print(segmenter.segment(data, segmenter.plan(data, Options())).body[1:4].decode(), "torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.split() == ["PNG", "False"]
