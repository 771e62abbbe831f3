"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch

from model.lanes import CUDA_LANES, Lanes
from model.predictor import Predictor
from model.segmentation import Options, segment_image
from model.weights_file import Weights

Photo = Callable[..., npt.NDArray[np.uint8]]
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("graphs", [False, True], ids=["launched", "recorded"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_logits_are_those_of_the_processor(narrow: Weights, photo: Photo, graphs: bool, count: int) -> None:
    tiles = [photo(64, 96, seed) for seed in range(count)]
    found = Predictor(narrow, "cuda", "float32", graphs=graphs).logits(tiles)
    assert (found.device.type, found.dtype) == ("cuda", torch.float32)
    torch.testing.assert_close(found.cpu(), Predictor(narrow, "cpu", "float32").logits(tiles), atol=2e-2, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("size", [(50, 61), (300, 420)], ids=str)
@pytest.mark.parametrize("blend", ["mean", "hann"])
def test_masks_and_confidence_are_those_of_the_processor(
    narrow: Weights, photo: Photo, dtype: str, size: tuple[int, int], blend: str
) -> None:
    options = Options((128, 128), 0.25, blend, "native")  # type: ignore[arg-type]
    there, here = (
        segment_image(Predictor(narrow, d, t), photo(*size), options, 1.3) for d, t in (("cuda", dtype), ("cpu", "float32"))
    )
    assert (there.class_map == here.class_map).mean() >= (0.99 if dtype == "float32" else 0.95)
    assert there.confidence is not None
    assert here.confidence is not None
    assert np.abs(there.confidence.astype(int) - here.confidence).mean() <= 3


@pytest.mark.parametrize("graphs", [False, True], ids=["launched", "recorded"])
def test_threads_do_not_mix_their_tiles(narrow: Weights, photo: Photo, graphs: bool) -> None:
    predictor = Predictor(narrow, "cuda", "float32", graphs=graphs)
    lanes, photos = Lanes(predictor, 1), [photo(64, 96, seed) for seed in range(12)]
    assert lanes.count == CUDA_LANES
    alone = [predictor.logits([tile]).cpu() for tile in photos]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: lanes.logits([photos[i % 12]]).cpu(), range(400)))
    for index, found in enumerate(together):
        torch.testing.assert_close(found, alone[index % 12], atol=1e-3, rtol=0)


def test_lanes_may_record_new_shapes_at_once(narrow: Weights, photo: Photo) -> None:
    predictor = Predictor(narrow, "cuda", "float32", graphs=True)
    lanes, shapes = Lanes(predictor, 1), [(32 * height, 32 * width) for height in range(1, 5) for width in range(1, 5)]
    with ThreadPoolExecutor(CUDA_LANES) as pool:
        found = list(pool.map(lambda shape: lanes.logits([photo(*shape)]).cpu(), 2 * shapes))
    plain = Predictor(narrow, "cuda", "float32")
    for shape, logits in zip(2 * shapes, found, strict=True):
        torch.testing.assert_close(logits, plain.logits([photo(*shape)]).cpu(), atol=1e-3, rtol=0)
