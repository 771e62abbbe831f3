"""Shift-and-stitch against the same filters applied densely (à trous), and its place in the runtime."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.harness.narrow import randomise
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.networks.aligned import AlignedFCN
from model.networks.builder import build
from model.networks.servable import ShiftAndStitch
from model.weights_file import Weights

pytestmark = pytest.mark.usefixtures("quick_vgg16")

# wider than twice the reach of the backbone, so that the middle never sees the border's padding
SIDE = 1120


def coarse_net() -> AlignedFCN:
    torch.manual_seed(0)
    net = build("fcn32s", "mobilenet_v2", 3, head="none", width=0.1)
    assert isinstance(net, AlignedFCN)
    return randomise(net).eval()


def blocks() -> torch.Tensor:
    """An image of large random blocks, on which the scores vary."""
    torch.manual_seed(1)
    return nn.functional.interpolate(torch.rand(1, 3, SIDE // 40, SIDE // 40) * 2 - 1, scale_factor=40)


def variation(scores: torch.Tensor) -> float:
    return scores.std((2, 3)).max().item()


def a_trous(net: AlignedFCN, strides_to_remove: int) -> AlignedFCN:
    """The network without its last strides: what came after each is dilated by as much (Long et al. 2015, section 3.2)."""
    net = deepcopy(net)
    convolutions = [layer for layer in net.backbone.modules() if isinstance(layer, nn.Conv2d)]
    reductions = [layer for layer in convolutions if layer.stride == (2, 2)][-strides_to_remove:]
    dilation = 1
    for layer in convolutions:
        if layer.kernel_size == (3, 3) and dilation > 1:
            layer.dilation = layer.padding = (dilation, dilation)
        if any(layer is s for s in reductions):
            layer.stride = (1, 1)
            dilation *= 2
    return net


@pytest.mark.long
@pytest.mark.parametrize("removed", [1, 2])
def test_it_equals_the_dense_a_trous_network(removed: int) -> None:
    net, shifts = coarse_net(), 2**removed
    images = blocks()
    with torch.inference_mode():
        dense = a_trous(net, removed).scores(images)
        result = ShiftAndStitch(net, shifts).scores(images)
    assert result.shape == dense.shape
    middle = slice(dense.shape[2] // 2 - shifts, dense.shape[2] // 2 + shifts)
    expected = dense[..., middle, middle]
    torch.testing.assert_close(result[..., middle, middle], expected, atol=1e-3 * variation(expected), rtol=0)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "vgg16"])
def test_a_network_without_context_is_shifted_onto_the_pixels(backbone: str) -> None:
    """Scores that are the pixels at their own grid's points give back a smooth image, wherever that grid lies."""
    net = coarse_net()
    grid = "corner" if backbone == "mobilenet_v2" else "half_pixel"
    net.backbone.grid = net.grid = grid

    def pixels(images: torch.Tensor) -> torch.Tensor:
        if grid == "corner":
            return images[..., ::32, ::32]
        return (images[..., 15::32, 15::32] + images[..., 16::32, 16::32]) / 2

    net.scores = pixels  # type: ignore[method-assign]
    ramp = torch.arange(128.0)[:, None] * 3 + torch.arange(128.0)[None, :]
    logits = ShiftAndStitch(net, 8)(ramp.expand(1, 3, 128, 128))
    torch.testing.assert_close(logits[0, 0, 32:96, 32:96], ramp[32:96, 32:96], atol=1e-3, rtol=0)


def test_the_runtime_takes_shifts(narrow: Weights) -> None:
    tiles = [np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)]
    plain, fine = (TorchRuntime(narrow, "cpu", "float32", shifts=shifts).logits(tiles) for shifts in (1, 2))
    assert (plain.shape, fine.shape) == ((1, 4, 8, 12), (1, 4, 16, 24))
    assert np.abs(fine[:, :, ::2, ::2] - plain).max() < 1e-4


@pytest.mark.parametrize(
    ("backbone", "decoder", "shifts", "message"),
    [
        *(("mobilenet_v2", "aligned", shifts, f"stride of 8, got {shifts}") for shifts in (0, 3, 16)),
        ("mobilenet_v2", "interpolated", 2, "decoder aligned, got interpolated"),
        ("vgg16", "aligned", 8, "cells of this backbone lie between pixels: shifts must be below 8, got 8"),
    ],
)
def test_what_cannot_be_stitched_is_refused(backbone: str, decoder: str, shifts: int, message: str) -> None:
    with torch.device("meta"):
        net = build("fcn8s", backbone, 2, head="none", decoder=decoder)
        with pytest.raises(ValueError, match=message):
            ShiftAndStitch(net, shifts)
