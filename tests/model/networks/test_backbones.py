"""Where the backbones' maps are centred, how large they are, and that dilation computes the strided network."""

from __future__ import annotations

from functools import cache
from math import ceil

import pytest
import torch
from torch import nn

from benchmarks.harness.narrow import randomise
from model.architecture import Architecture
from model.networks.backbones import Backbone
from model.networks.fcn import build_backbone
from tests.support.model.networks import averaging, centre, strip
from tests.support.variants import long

pytestmark = pytest.mark.usefixtures("quick_vgg16")

BACKBONES = [
    *((name, stride) for name in ("mobilenet_v2", "resnet18", "vgg16") for stride in (16, 32)),
    ("mobilenet_edgetpu", 16),
    *(("timm/test_efficientnet", stride) for stride in (16, 32)),
    *((f"timm/{name}", 32) for name in ("resnet18", "test_convnext")),
]
NOT_LOCAL = ("LayerNorm", "LayerNorm2d", "SqueezeExcite")  # timm's layers that look at all channels or all pixels


def architecture(backbone: str, output_stride: int) -> Architecture:
    width = 0.1 if backbone == "mobilenet_v2" else 1.0
    return Architecture("fcn8s", backbone, 2, output_stride, head="none", width=width)


def local(net: Backbone) -> Backbone:
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ in NOT_LOCAL:
                setattr(parent, name, nn.Identity())
    return net


@cache
def averaging_backbone(backbone: str, output_stride: int) -> Backbone:
    if backbone != "vgg16":
        return averaging(local(build_backbone(architecture(backbone, output_stride))))
    with torch.device("meta"):
        net = build_backbone(architecture(backbone, output_stride))
    return averaging(net.to_empty(device="cpu"))


@pytest.mark.parametrize(("backbone", "output_stride"), BACKBONES)
@pytest.mark.parametrize("axis", [2, *long(3)], ids=["rows", "columns"])
def test_every_cell_averages_pixels_around_the_centre_that_its_grid_names(backbone: str, output_stride: int, axis: int) -> None:
    net = averaging_backbone(backbone, output_stride)
    length = 512 if backbone == "vgg16" else 1024
    image = strip(length, axis)
    features = net(image)
    for stride, maps in zip((8, 16, output_stride), features, strict=True):
        cell = length // 2 // stride + 1
        offset = 0 if net.grid == "corner" else (stride - 1) / 2
        value = maps[0].sum(0).flatten()[cell]
        tolerance = 0.02 if backbone.startswith("timm/") else 1e-6
        assert centre(value, image, axis) == pytest.approx(stride * cell + offset, abs=tolerance)


@pytest.mark.parametrize(("backbone", "output_stride"), BACKBONES)
def test_maps_have_a_cell_for_every_started_stride_and_the_channels_they_declare(backbone: str, output_stride: int) -> None:
    with torch.device("meta"):
        net = build_backbone(architecture(backbone, output_stride))
        for height, width in [(1, 1), (31, 32), (33, 500), (97, 129), (64, 8)]:
            features = net(torch.empty(2, 3, height, width))
            for maps, channels, stride in zip(features, net.channels, (8, 16, output_stride), strict=True):
                assert tuple(maps.shape) == (2, channels, ceil(height / stride), ceil(width / stride))


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18"])
@pytest.mark.parametrize("size", [(64, 96), (130, 97)], ids=["even", "odd"])
def test_a_dilated_last_stage_is_the_strided_one_on_a_grid_twice_as_fine(backbone: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    stride32 = build_backbone(architecture(backbone, 32))
    stride16 = build_backbone(architecture(backbone, 16))
    randomise(stride32)
    stride16.load_state_dict(stride32.state_dict())
    images = torch.randn(1, 3, *size)
    with torch.inference_mode():
        coarse, fine = stride32.eval()(images), stride16.eval()(images)
    scale = coarse.last.abs().max().item()
    torch.testing.assert_close(fine.last[..., ::2, ::2], coarse.last, atol=1e-4 * scale, rtol=0)
    torch.testing.assert_close(fine.stride16, coarse.stride16)
    assert coarse.last.std() > 0
