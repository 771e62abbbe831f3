"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from imaging.answer import Rendering
from model.inference.runtime import DeviceOutOfMemory, load_runtime
from model.inference.segmenter import Options, Segmenter
from model.inference.tiling import Blend
from model.inference.torch_runtime import CUDA_CALLS, TorchRuntime
from model.weights_file import Weights, find_files
from tests.conftest import make_photo

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_logits_are_those_of_the_processor(narrow: Weights, count: int) -> None:
    tiles = [make_photo(64, 96, seed) for seed in range(count)]
    found = TorchRuntime(narrow, "cuda", "float32").logits(tiles)
    assert (found.dtype, found.shape) == (np.float32, (count, 4, 8, 12))
    np.testing.assert_allclose(found, TorchRuntime(narrow, "cpu", "float32").logits(tiles), atol=2e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("blend", ["mean", "hann"])
def test_masks_and_confidence_are_those_of_the_processor(narrow: Weights, precision: str, blend: Blend) -> None:
    options = Options((128, 128), 0.25, blend, "native", Rendering("confidence"))
    there, here = (
        segmenter.infer(make_photo(300, 420), segmenter.plan_size((300, 420), options))
        for segmenter in (Segmenter(TorchRuntime(narrow, d, p)) for d, p in (("cuda", precision), ("cpu", "float32")))
    )
    assert (there.class_map == here.class_map).mean() >= (0.999 if precision == "float32" else 0.97)
    assert there.confidence is not None
    assert here.confidence is not None
    assert np.abs(there.confidence.astype(int) - here.confidence).mean() <= 3


def test_bfloat16_agrees_on_99_percent_of_the_default_networks_cells() -> None:
    files = find_files("voc-fcn8s-mobilenet-v2")
    there, here = load_runtime(files, "torch", "cuda", "bfloat16"), load_runtime(files, "torch", "cpu", "float32")
    tiles = [make_photo(384, 480, seed) for seed in range(4)]
    found, expected = there.logits(tiles).argmax(1), here.logits(tiles).argmax(1)
    assert (found == expected).mean() >= 0.99


def test_a_batch_is_its_tiles_one_by_one(narrow: Weights) -> None:
    runtime = TorchRuntime(narrow, "cuda", "float32")
    tiles = [make_photo(64, 96, seed) for seed in range(8)]
    singles = np.concatenate([runtime.logits([tile]) for tile in tiles])
    np.testing.assert_allclose(runtime.logits(tiles), singles, atol=1e-2)


def test_threads_do_not_mix_their_tiles(narrow: Weights) -> None:
    runtime = TorchRuntime(narrow, "cuda", "float32")
    assert (runtime.max_batch, runtime.concurrency) == (None, CUDA_CALLS)
    tiles = [make_photo(64, 96, seed) for seed in range(12)]
    alone = [runtime.logits([tile]) for tile in tiles]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: runtime.logits([tiles[i % 12]]), range(400)))
    for index, found in enumerate(together):
        np.testing.assert_allclose(found, alone[index % 12], atol=1e-3)


def test_memory_that_is_full_is_an_error_of_its_own_and_passes(narrow: Weights) -> None:
    runtime, tile = TorchRuntime(narrow, "cuda", "float32"), make_photo(64, 96)
    before = runtime.logits([tile])
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        with pytest.raises(DeviceOutOfMemory, match="the device's memory is full"):
            runtime.logits([np.zeros((1024, 1024, 3), np.uint8)] * 64)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_allclose(runtime.logits([tile]), before, atol=1e-3)


def test_auto_takes_the_gpu() -> None:
    runtime = load_runtime(find_files("voc-fcn8s-mobilenet-v2"))
    assert runtime.device.startswith("cuda")
