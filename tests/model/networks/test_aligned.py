"""The network: the paper's start from the coarser net, and alignment of outputs with inputs; test_family has the rest."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import pytest
import torch

from benchmarks.harness.narrow import randomise
from model.architecture import Architecture
from model.networks.aligned import AlignedFCN
from model.networks.builder import build
from model.networks.heads import build_head
from tests.support.model.networks import averaging, centre, strip

VARIANTS = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}


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


def test_a_dilated_vgg16_head_is_the_plain_one_on_a_grid_twice_as_fine() -> None:
    torch.manual_seed(0)
    plain, stride16 = (build_head(Architecture("fcn8s", "vgg16", 2, stride, "fc", 4), 5)[0].eval() for stride in (32, 16))
    stride16.load_state_dict(plain.state_dict())
    maps = torch.randn(1, 5, 18, 23)
    with torch.inference_mode():
        torch.testing.assert_close(stride16(maps)[..., ::2, ::2], plain(maps[..., ::2, ::2]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("coarse", "fine", "output_stride"),
    [("fcn32s", "fcn16s", 32), ("fcn32s", "fcn8s", 32), ("fcn16s", "fcn8s", 32), ("fcn16s", "fcn8s", 16)],
)
@pytest.mark.parametrize("size", [(64, 96), (75, 101), (40, 1)], ids=str)
def test_a_finer_net_starts_as_the_coarser_net_of_the_same_weights(
    coarse: str, fine: str, output_stride: int, size: tuple[int, int]
) -> None:
    source = small(coarse, output_stride=output_stride)
    net = fresh(fine, output_stride=output_stride).eval()
    assert net.load_state_dict(source.state_dict(), strict=False).unexpected_keys == []
    images = torch.randn(1, 3, *size)
    with torch.inference_mode():
        expected = source(images)
        assert expected.std() > 0
        torch.testing.assert_close(net(images), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


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
