"""The torch runtime on each device: on the processor always, on a GPU where there is one; and what only a GPU has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.runtime import DeviceOutOfMemory, most_tiles
from model.inference.runtimes.torch_runtime import (
    BATCHES,
    CUDA_CALLS,
    MEMORY_SHARE,
    TorchRuntime,
    filled_count,
    pixels_that_fit,
)
from model.inference.segmenter import Segmenter
from model.inference.tiling import Blend
from model.weights_file import Weights
from tests.support.images import make_photo
from tests.support.runtimes import DEVICES, needs_gpu
from tests.support.variants import long

SHAPES = [(64, 96), (96, 64), (32, 128)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [1, 3, 8])
def test_logits_are_those_of_the_processor(narrow: Weights, count: int, device: str) -> None:
    tiles = [make_photo(64, 96, seed) for seed in range(count)]
    logits = TorchRuntime(narrow, device, "float32").logits(tiles)
    assert (logits.dtype, logits.shape) == (np.float32, (count, 4, 8, 12))
    # float32 is IEEE's: TensorFloat-32 is off by some 1e-2 here
    np.testing.assert_allclose(logits, TorchRuntime(narrow, "cpu", "float32").logits(tiles), atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", *long("float16")])
@pytest.mark.parametrize("blend", ["mean", *long("hann")])
def test_masks_and_confidence_are_those_of_the_processor(narrow: Weights, precision: str, blend: Blend, device: str) -> None:
    options = Options(tile=(128, 128), blend=blend, side="native", rendering=Rendering("confidence"))
    there, here = (
        segmenter.infer(make_photo(300, 420), segmenter.plan_size((300, 420), options))
        for segmenter in (Segmenter(TorchRuntime(narrow, d, p)) for d, p in ((device, precision), ("cpu", "float32")))
    )
    assert (there.class_map == here.class_map).mean() >= (0.999 if precision == "float32" else 0.97)
    assert there.confidence is not None
    assert here.confidence is not None
    assert np.abs(there.confidence.astype(int) - here.confidence).mean() <= 3


@pytest.mark.parametrize("device", DEVICES)
def test_threads_do_not_mix_their_tiles(narrow: Weights, device: str) -> None:
    """More threads than streams, and shapes that share the device's memory between them."""
    runtime = TorchRuntime(narrow, device, "float32")
    tiles = [make_photo(*SHAPES[seed % 3], seed) for seed in range(12)]
    alone = [runtime.logits([tile]) for tile in tiles]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: runtime.logits([tiles[i % 12]]), range(400 if device == "cuda" else 48)))
    for index, logits in enumerate(together):
        np.testing.assert_allclose(logits, alone[index % 12], atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_a_runtime_says_how_it_wants_to_be_called(narrow: Weights, device: str) -> None:
    runtime = TorchRuntime(narrow, device, "float32")
    on_gpu = device == "cuda"
    assert (runtime.max_batch, runtime.max_concurrency) == ((BATCHES[-1], CUDA_CALLS) if on_gpu else (1, 1))
    assert (runtime.max_pixels is not None) == on_gpu


@pytest.mark.parametrize(
    ("count", "most", "filled"),
    [(1, 64, 1), (2, 64, 2), (3, 64, 4), (9, 64, 16), (33, 64, 48), (64, 64, 64), (17, 20, 20), (5, 5, 5), (3, 2, 3)],
)
def test_a_gpu_runs_few_numbers_of_tiles_and_no_more_than_fit(count: int, most: int, filled: int) -> None:
    assert filled_count(count, most) == filled


def test_two_calls_fit_in_the_share_of_the_memory_by_what_one_took() -> None:
    pixels = pixels_that_fit(call_bytes=4000, pixels=100, free=1_000_000)
    assert CUDA_CALLS * pixels * 40 == MEMORY_SHARE * 1_000_000
    assert pixels_that_fit(call_bytes=-5, pixels=100, free=1_200_000) == MEMORY_SHARE * 1_200_000 / CUDA_CALLS / 3


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("count", [3, 9, 33])
def test_a_batch_that_is_filled_up_gives_its_tiles_alone(narrow: Weights, count: int) -> None:
    runtime = TorchRuntime(narrow, "cuda", "float32")
    tiles = [make_photo(64, 96, seed) for seed in range(count)]
    singles = np.concatenate([runtime.logits([tile]) for tile in tiles])
    np.testing.assert_allclose(runtime.logits(tiles), singles, atol=1e-4)


@pytest.mark.cuda
@needs_gpu
def test_two_batches_of_the_measured_size_fit_the_device(narrow: Weights) -> None:
    runtime = TorchRuntime(narrow, "cuda", "float32")
    assert runtime.max_pixels is not None
    count = most_tiles((256, 256, 3), BATCHES[-1], runtime.max_pixels)
    tiles = [np.zeros((256, 256, 3), np.uint8)] * count
    torch.cuda.reset_peak_memory_stats()
    with ThreadPoolExecutor(CUDA_CALLS) as pool:
        for logits in pool.map(runtime.logits, [tiles] * (4 * CUDA_CALLS)):
            assert len(logits) == count
    assert torch.cuda.max_memory_allocated() < torch.cuda.mem_get_info()[1]


@pytest.mark.cuda
@needs_gpu
def test_calls_of_one_shape_take_no_more_memory_after_the_first_ones(narrow: Weights) -> None:
    runtime, tiles = TorchRuntime(narrow, "cuda", "float32"), [make_photo(64, 96, seed) for seed in range(8)]
    for _ in range(2 * CUDA_CALLS):
        runtime.logits(tiles)
    before = torch.cuda.memory_reserved()
    for _ in range(50):
        runtime.logits(tiles)
    assert torch.cuda.memory_reserved() == before


@pytest.mark.cuda
@needs_gpu
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
    np.testing.assert_allclose(runtime.logits([tile]), before, atol=1e-4)
