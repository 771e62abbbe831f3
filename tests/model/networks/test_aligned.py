"""The network: sizes, the paper's start from the coarser net, gradients, and alignment of outputs with inputs."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from math import ceil

import pytest
import torch
from torch import Tensor

from benchmarks.harness.narrow import randomise
from model.architecture import Architecture
from model.networks.aligned import AlignedFCN
from model.networks.builder import build
from model.networks.heads import build_head
from tests.support.model.networks import averaging, centre, interpolated, strip

VARIANTS = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
SIZES = [
    *((1, 1), (1, 2), (2, 1), (7, 5), (31, 32), (32, 31), (32, 32), (33, 33), (33, 500), (500, 33)),
    *((63, 64), (65, 64), (1, 300), (300, 1), (95, 97), (127, 129), (100, 160), (161, 223), (17, 255), (224, 224)),
]


@cache
def small(variant: str = "fcn8s", backbone: str = "mobilenet_v2", output_stride: int = 32, head: str = "fc") -> AlignedFCN:
    """A network with random scores in evaluation mode; a test that changes it copies it first."""
    return randomise(fresh(variant, backbone, output_stride, head)).eval()


def fresh(variant: str, backbone: str = "mobilenet_v2", output_stride: int = 32, head: str = "fc") -> AlignedFCN:
    torch.manual_seed(0)
    width = 0.1 if backbone == "mobilenet_v2" else 1.0
    net = build(variant, backbone, 3, output_stride=output_stride, head=head, head_width=8, width=width)
    assert isinstance(net, AlignedFCN)
    return net


def coarse_scores(net: AlignedFCN, images: Tensor) -> Tensor:
    scores: Tensor = net.score_fr(net.head(net.backbone(images).last))
    return scores


def without_skips(net: AlignedFCN) -> AlignedFCN:
    net = deepcopy(net)
    assert net.score_pool3 is not None
    assert net.score_pool4 is not None
    for layer in (net.score_pool3, net.score_pool4):
        assert layer.bias is not None
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return net


@pytest.mark.parametrize("output_stride", [16, 32])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_have_the_size_of_the_image_at_twenty_sizes(variant: str, output_stride: int) -> None:
    net = small(variant, output_stride=output_stride)
    with torch.inference_mode():
        shapes = {size: tuple(net(torch.randn(1, 3, *size)).shape) for size in SIZES}
    assert shapes == {(height, width): (1, 3, height, width) for height, width in SIZES}


@pytest.mark.parametrize("head", ["none", "fc", "conv1x1", "pooled"])
def test_every_head_leads_to_logits_of_each_image_of_the_batch(head: str) -> None:
    net = small(head=head, output_stride=16)
    images = torch.randn(3, 3, 40, 50)
    with torch.inference_mode():
        logits = net(images)
        assert (logits.shape, logits.dtype) == ((3, 3, 40, 50), torch.float32)
        torch.testing.assert_close(logits[1:2], net(images[1:2]), atol=1e-5, rtol=1e-4)


def test_a_dilated_vgg16_head_is_the_plain_one_on_a_grid_twice_as_fine() -> None:
    torch.manual_seed(0)
    plain, dilated = (build_head(Architecture("fcn8s", "vgg16", 2, stride, "fc", 4), 5)[0].eval() for stride in (32, 16))
    dilated.load_state_dict(plain.state_dict())
    maps = torch.randn(1, 5, 18, 23)
    with torch.inference_mode():
        torch.testing.assert_close(dilated(maps)[..., ::2, ::2], plain(maps[..., ::2, ::2]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("output_stride", "steps"), [(32, (2, 2, 8)), (16, (2, 8))], ids=["stride 32", "stride 16"])
@pytest.mark.parametrize("backbone", ["mobilenet_v2", pytest.param("vgg16", marks=pytest.mark.long)])
def test_with_zero_skips_an_fcn8s_is_its_coarse_score_upsampled_in_steps(
    backbone: str, output_stride: int, steps: tuple[int, ...]
) -> None:
    net = without_skips(small("fcn8s", backbone, output_stride))
    images = torch.randn(1, 3, 75, 101)
    with torch.inference_mode():
        scores, logits = coarse_scores(net, images), net(images)
    stride = output_stride
    for step in steps:
        stride //= step
        scores = interpolated(scores, step, (ceil(75 / stride), ceil(101 / stride)), net.backbone.grid)
    assert scores.std() > 0
    torch.testing.assert_close(logits, scores, atol=1e-5 * scores.abs().max().item(), rtol=0)


@pytest.mark.parametrize(
    ("coarse", "fine", "output_stride"),
    [("fcn32s", "fcn16s", 32), ("fcn32s", "fcn8s", 32), ("fcn16s", "fcn8s", 32), ("fcn16s", "fcn8s", 16)],
)
@pytest.mark.parametrize("size", [(64, 96), (75, 101), (40, 1)], ids=str)
def test_a_finer_net_starts_as_the_coarser_net_of_the_same_weights(
    coarse: str, fine: str, output_stride: int, size: tuple[int, int]
) -> None:
    trained = small(coarse, output_stride=output_stride)
    net = fresh(fine, output_stride=output_stride).eval()
    assert net.load_state_dict(trained.state_dict(), strict=False).unexpected_keys == []
    images = torch.randn(1, 3, *size)
    with torch.inference_mode():
        expected = trained(images)
        assert expected.std() > 0
        torch.testing.assert_close(net(images), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize(
    ("variant", "backbone", "output_stride", "head"),
    [
        *((variant, "mobilenet_v2", stride, "fc") for variant in VARIANTS for stride in (16, 32)),
        *(("fcn8s", "mobilenet_v2", 16, head) for head in ("none", "pooled")),
        *(pytest.param("fcn8s", wide, 32, "fc", marks=pytest.mark.long) for wide in ("resnet18", "vgg16")),
    ],
)
def test_gradients_reach_every_parameter(variant: str, backbone: str, output_stride: int, head: str) -> None:
    net = deepcopy(small(variant, backbone, output_stride, head)).train()
    logits = net(torch.randn(2, 3, 70, 64))
    (logits * torch.randn_like(logits)).sum().backward()
    parameters = dict(net.named_parameters())
    assert all(parameter.requires_grad for parameter in parameters.values())
    assert [name for name, p in parameters.items() if p.grad is None or not p.grad.any()] == []
    learnable = {name.split(".")[0] for name in parameters if name.startswith(("score_", "upscore"))}
    skips = {"fcn32s": set(), "fcn16s": {"score_pool4"}, "fcn8s": {"score_pool4", "score_pool3", "upscore_pool4"}}[variant]
    upscore2 = {"upscore2"} if output_stride == 32 and variant != "fcn32s" else set()
    assert learnable == {"score_fr"} | skips | upscore2


@pytest.mark.parametrize(
    ("variant", "backbone", "output_stride"),
    [
        *((variant, "mobilenet_v2", stride) for variant in VARIANTS for stride in (16, 32)),
        *(("fcn8s", "resnet18", stride) for stride in (16, 32)),
        *(pytest.param("fcn8s", "vgg16", stride, marks=pytest.mark.long) for stride in (16, 32)),
    ],
)
@pytest.mark.parametrize("axis", [2, 3], ids=["rows", "columns"])
def test_every_logit_averages_pixels_around_its_own(variant: str, backbone: str, output_stride: int, axis: int) -> None:
    net = averaged(variant, backbone, output_stride)
    length = 512 if backbone == "vgg16" else 1100
    image = strip(length, axis)
    maps = net.upscore_final.upsample(net.scores(image), (image.shape[2], image.shape[3]))
    for pixel in (length // 2, length // 2 + 5, length // 2 + 22):
        position = centre(maps[0, 0].flatten()[pixel], image, axis)
        assert position == pytest.approx(pixel, abs=1e-3)


@cache
def averaged(variant: str, backbone: str, output_stride: int) -> AlignedFCN:
    return averaging(deepcopy(small(variant, backbone, output_stride)))
