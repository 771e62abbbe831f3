"""The teacher's probabilities against the network's own, computed directly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.harness.narrow import narrow_net, randomise
from model.networks.builder import build
from model.networks.fcn import FCN
from tests.support.variants import long
from training.learning.teacher import Teacher

# in float64, since the random networks here are deep enough to blow up what float32 rounds away
IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def flip_average(net: FCN, images: Tensor, stride: int) -> Tensor:
    with torch.no_grad():
        plain, mirror = net(images).softmax(1), net(images.flip(3)).flip(3).softmax(1)
    return ((plain + mirror) / 2)[..., ::stride, ::stride]


@pytest.mark.parametrize(
    ("variant", "backbone", "stride"),
    [("fcn8s", "mobilenet_v2", 8), ("fcn32s", "mobilenet_v2", 32), *long(("fcn8s", "vgg16", 8))],
)
def test_at_scale_1_it_is_the_flip_averaged_network_also_for_sizes_that_no_stride_divides(
    variant: str, backbone: str, stride: int
) -> None:
    """Cells of a VGG16 lie in the middle of their pixels, those of a MobileNetV2 on the first."""
    torch.manual_seed(0)
    options = {"head": "none"} if backbone == "vgg16" else {"head_width": 16, "width": 0.1}
    net = randomise(build(variant, backbone, 4, **options)).double().eval()
    images = IMAGES[:1, :, :61, :83]
    probabilities = Teacher(net, (1.0,)).log_probabilities(images).exp()
    torch.testing.assert_close(probabilities, flip_average(net, images, stride), atol=1e-4, rtol=0)


def test_several_scales_give_probabilities_near_each_ones_mean() -> None:
    net = narrow_net().double()
    one, two, both = (Teacher(net, s).log_probabilities(IMAGES).exp() for s in ((1.0,), (1.5,), (1.0, 1.5)))
    assert torch.allclose(both.sum(1), torch.ones(2, 8, 12), atol=1e-5)
    assert torch.allclose(both, (one + two) / 2, atol=1e-5)
    assert not torch.allclose(one, two, atol=1e-3)


def test_the_network_is_frozen_in_evaluation_mode() -> None:
    teacher = Teacher(narrow_net().double().train(), (1.0,))
    assert not teacher.net.training
    assert not any(parameter.requires_grad for parameter in teacher.net.parameters())
    assert not teacher.log_probabilities(IMAGES).requires_grad


def test_a_network_that_has_no_scores_to_read_is_no_teacher() -> None:
    net = build("fcn8s", "mobilenet_v2", 4, width=0.1, head="conv1x1", head_width=8, decoder="interpolated")
    with pytest.raises(ValueError, match="a teacher must have the decoder aligned, got interpolated"):
        Teacher(net, (1.0,))
