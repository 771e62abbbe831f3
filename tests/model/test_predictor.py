"""The folded network in both precisions against the plain one, batches, and warm-up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from model.device import DeviceError
from model.predictor import Predictor
from model.weights_file import Weights
from tests.conftest import ROOT

Photo = Callable[..., npt.NDArray[np.uint8]]


def plain_logits(weights: Weights, tile: npt.NDArray[np.uint8]) -> torch.Tensor:
    with torch.inference_mode():
        return weights.network().scores(torch.tensor(tile).permute(2, 0, 1)[None].float() / 127.5 - 1)[0]


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 128)], ids=str)
def test_the_folded_network_computes_what_the_plain_one_does(narrow: Weights, photo: Photo, size: tuple[int, int]) -> None:
    tile = photo(*size)
    logits = Predictor(narrow, "cpu", "float32").logits([tile])
    assert (logits.dtype, logits.shape) == (torch.float32, (1, 4, size[0] // 8, size[1] // 8))
    assert logits.std() > 0.1
    torch.testing.assert_close(logits[0], plain_logits(narrow, tile), atol=1e-4, rtol=0)


def test_no_batch_norm_is_left_and_weights_lie_channels_last(narrow: Weights) -> None:
    net = Predictor(narrow, "cpu", "float32").net
    assert [name for name, layer in net.named_modules() if isinstance(layer, nn.BatchNorm2d)] == []
    assert not net.training
    strided = [p for p in net.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert strided
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in strided)


def test_bfloat16_agrees_on_nearly_every_pixel(narrow: Weights, photo: Photo) -> None:
    predictor = Predictor(narrow, "cpu", "bfloat16")
    tile = photo(128, 160)
    logits = predictor.logits([tile])
    assert predictor.net.score_fr.weight.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    expected = plain_logits(narrow, tile).argmax(0)
    assert len(expected.unique()) > 1
    assert (logits[0].argmax(0) == expected).float().mean() >= 0.97


def test_tiles_of_a_batch_do_not_see_each_other(narrow: Weights, photo: Photo) -> None:
    predictor = Predictor(narrow, "cpu", "float32")
    tiles = [photo(64, 96, seed) for seed in range(3)]
    together = predictor.logits(tiles)
    assert together.shape == (3, 4, 8, 12)
    for tile, logits in zip(tiles, together, strict=True):
        assert torch.equal(logits, predictor.logits([tile])[0])


def test_logits_do_not_depend_on_how_the_tile_lies_in_memory(narrow: Weights, photo: Photo) -> None:
    predictor = Predictor(narrow, "cpu", "float32")
    tile = photo(96, 96)[16:48, 32:96]
    tile.flags.writeable = False
    assert torch.equal(predictor.logits([tile]), predictor.logits([tile.copy()]))


def warmed_up(predictor: Predictor, *arguments: Any) -> Counter[tuple[int, ...]]:
    """How many images of each (height, width) the network sees in a warm-up."""
    seen: Counter[tuple[int, ...]] = Counter()
    scores = predictor._scores

    def counted(batch: torch.Tensor) -> torch.Tensor:
        seen.update([tuple(batch.shape[1:3])] * len(batch))
        return scores(batch)

    predictor._scores = counted  # type: ignore[method-assign]
    predictor.warm_up(*arguments)
    return seen


def test_warm_up_runs_exactly_the_shapes_that_plans_can_have(narrow: Weights) -> None:
    told: list[tuple[int, int]] = []
    seen = warmed_up(Predictor(narrow, "cpu", "float32"), (96, 64), (1, 2), lambda done, total: told.append((done, total)))
    assert seen == {(height, width): 3 for height in (32, 64, 96) for width in (32, 64)}
    assert told == [(i, 12) for i in range(1, 13)]


def test_warm_up_takes_one_tile_at_a_time_unless_told_otherwise(narrow: Weights) -> None:
    assert warmed_up(Predictor(narrow, "cpu", "float32"), (32, 64)) == {(32, 32): 1, (32, 64): 1}


def test_a_predictor_names_its_precision(narrow: Weights) -> None:
    assert Predictor(narrow, "cpu", "float32").dtype_name == "float32"
    assert Predictor(narrow, "cpu", "bfloat16").dtype_name == "bfloat16"
    assert Predictor(narrow).dtype_name in ("float32", "bfloat16")


def test_a_wrong_device_or_precision_is_refused_at_once(narrow: Weights) -> None:
    with pytest.raises(DeviceError, match="device must be"):
        Predictor(narrow, "gpu")
    with pytest.raises(DeviceError, match="dtype must be"):
        Predictor(narrow, "cpu", "int8")


def test_a_shape_that_is_warm_stays_warm_whatever_came_since() -> None:
    code = """
from model.predictor import Predictor
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights
predictor = Predictor(load_weights(find_weights(DEFAULT_WEIGHTS)), "cpu", "float32")
for _ in range(2):
    print("pass", flush=True)
    predictor.warm_up((384, 480))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    environment["ONEDNN_VERBOSE"] = "2"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    _, first, second = done.stdout.split("pass\n")
    assert first.count("create:cache_hit") > 1000
    assert first.count("create:cache_miss") > 0
    assert second.count("create:cache_miss") == 0
