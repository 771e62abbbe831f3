"""The members of the family that are not served by default: sizes, gradients, parameters, and what each one is known by."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from benchmarks.harness.narrow import randomise
from model.networks.builder import build, build_network, load_classifier
from model.networks.fcn import FCN
from model.networks.heads import ScoreBranch
from tests.support.model.networks import averaging, centre, strip, vgg16_layout

MEMBERS = {
    "paper 32s": {"variant": "fcn32s", "backbone": "vgg16", "decoder": "padded"},
    "paper 16s": {"variant": "fcn16s", "backbone": "vgg16", "decoder": "padded"},
    "paper 8s": {"variant": "fcn8s", "backbone": "vgg16", "decoder": "padded"},
    "1x1 conv6": {"variant": "fcn8s", "backbone": "vgg16", "decoder": "interpolated", "head": "conv1x1"},
    "1x1 conv6 shared": {"variant": "fcn8s", "backbone": "vgg16", "decoder": "shared", "head": "conv1x1"},
    "1x1 conv6 shared 16s": {"variant": "fcn16s", "backbone": "vgg16", "decoder": "shared", "head": "conv1x1"},
    "1x1 conv6 shared 32s": {"variant": "fcn32s", "backbone": "vgg16", "decoder": "shared", "head": "conv1x1"},
    "book": {"variant": "fcn32s", "backbone": "resnet18", "decoder": "transposed", "head": "none"},
    "learned 32s": {"variant": "fcn32s", "backbone": "mobilenet_v2", "decoder": "learned", "head": "none", "width": 0.1},
    "learned 16s": {"variant": "fcn16s", "backbone": "mobilenet_v2", "decoder": "learned", "head": "none", "width": 0.1},
    "learned 8s": {"variant": "fcn8s", "backbone": "mobilenet_v2", "decoder": "learned", "head": "fc", "width": 0.1},
    "branches": {"variant": "fcn8s", "backbone": "mobilenet_v2", "output_stride": 16, "skip_width": 6, "width": 0.1},
}
SIZES = [(1, 1), (31, 32), (33, 33), (65, 64), (90, 127)]
# pixels a side; its source's poolings round down and leave nothing of a smaller image
LEAST = {"1x1 conv6 shared": 32, "1x1 conv6 shared 16s": 32, "1x1 conv6 shared 32s": 32}


def members(names: Iterable[str]) -> list[object]:
    """These members as parameters; those on a VGG16 take seconds each."""
    wide = [name for name in MEMBERS if MEMBERS[name]["backbone"] == "vgg16"]
    return [pytest.param(name, marks=pytest.mark.long) if name in wide else name for name in names]


FULL = {"variant": "fcn8s", "backbone": "vgg16", "decoder": "padded", "head_width": 4096}


def fresh(name: str) -> FCN:
    torch.manual_seed(0)
    return build(num_classes=3, head_width=8, **MEMBERS[name])


@cache
def small(name: str) -> FCN:
    return randomise(fresh(name)).eval()


@pytest.mark.parametrize("name", members(MEMBERS))
def test_logits_are_finite_float32_and_of_the_image_s_size(name: str) -> None:
    net = small(name)
    assert net.least_side == LEAST.get(name, 1)
    with torch.inference_mode():
        for size in [size for size in [(net.least_side, net.least_side), *SIZES] if min(size) >= net.least_side]:
            logits = net(torch.randn(1, 3, *size))
            assert (logits.shape, logits.dtype) == ((1, 3, *size), torch.float32)
            assert logits.isfinite().all()


@pytest.mark.parametrize(("height", "width"), [(31, 64), (64, 31), (1, 1)])
def test_an_image_below_the_least_side_is_refused_with_the_least(height: int, width: int) -> None:
    with torch.device("meta"):
        net = build(num_classes=3, head_width=8, **MEMBERS["1x1 conv6 shared"])
        message = (
            rf"the decoder shared needs images of at least 32x32 pixels, got {height}x{width} \(height x width\); enlarge or"
        )
        with pytest.raises(ValueError, match=message):
            net(torch.empty(1, 3, height, width))


@pytest.mark.parametrize("name", members(MEMBERS))
def test_gradients_reach_every_parameter_that_learns(name: str) -> None:
    net = randomise(fresh(name)).train()
    logits = net(torch.randn(2, 3, 70, 64))
    (logits * torch.randn_like(logits)).sum().backward()
    frozen = {n for n, p in net.named_parameters() if not p.requires_grad}
    assert frozen == ({f"{net.final_name}.weight"} if name.startswith("paper") else set())
    idle = [n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert idle == []


@pytest.mark.parametrize("name", members(LEAST))
def test_a_fresh_network_with_relu_on_its_scores_has_gradients_everywhere(name: str) -> None:
    net = fresh(name).train()
    logits = net(torch.randn(2, 3, 64, 64))
    (logits * torch.randn_like(logits)).sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


def test_the_paper_s_dropout_is_element_by_element_and_its_last_upsampling_alone_is_frozen() -> None:
    with torch.device("meta"):
        net = build(num_classes=21, **FULL)
    assert [type(layer) for layer in net.head.modules() if "Dropout" in type(layer).__name__] == [nn.Dropout] * 2
    assert [name for name, parameter in net.named_parameters() if not parameter.requires_grad] == ["upscore8.weight"]


@pytest.mark.parametrize("name", ["paper 8s", "1x1 conv6", "1x1 conv6 shared"])
@pytest.mark.parametrize("dropout", [0.0, 0.3, 0.5])
def test_both_dropouts_of_a_head_have_the_stated_probability(name: str, dropout: float) -> None:
    with torch.device("meta"):
        net = build(num_classes=3, head_width=8, dropout=dropout, **MEMBERS[name])
    layers = [layer for layer in net.modules() if isinstance(layer, (nn.Dropout, nn.Dropout2d))]
    assert [layer.p for layer in layers] == [dropout] * 2


def test_the_paper_s_network_takes_the_published_classifier_head_included() -> None:
    with torch.device("meta"):
        net = build(num_classes=21, **FULL)
    load_classifier(net, vgg16_layout())
    with pytest.raises((ValueError, KeyError), match=r"classifier\.3\.weight"):
        load_classifier(net, {name: t for name, t in vgg16_layout().items() if name != "classifier.3.weight"})


@pytest.mark.long
@pytest.mark.parametrize(("variant", "axis"), [("fcn32s", 2), ("fcn16s", 2), ("fcn8s", 2), ("fcn8s", 3)])
def test_the_paper_s_crops_put_each_logit_over_its_own_pixel(variant: str, axis: int) -> None:
    torch.manual_seed(0)
    net = averaging(build(variant, "vgg16", 1, decoder="padded", head_width=2))
    image = strip(512, axis)
    logits = net(image).flatten()
    for pixel in (240, 245, 262):
        assert centre(logits[pixel], image, axis) == pytest.approx(pixel, abs=1e-3)


@pytest.mark.long
@pytest.mark.parametrize(("coarse", "fine"), [("paper 32s", "paper 16s"), ("paper 16s", "paper 8s")])
def test_a_stage_of_the_paper_starts_from_the_last(coarse: str, fine: str) -> None:
    trained, net = small(coarse), fresh(fine).eval()
    state = {name: tensor for name, tensor in trained.state_dict().items() if name in net.state_dict()}
    missing = net.load_state_dict(state, strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} == {
        *({"upscore2", "score_pool4", "upscore16"} if fine == "paper 16s" else {"upscore_pool4", "score_pool3", "upscore8"})
    }
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        before, after = trained(images), net(images)
    # upsampling in two bilinear steps differs a little from one, and from nothing else
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.97


@pytest.mark.long
def test_score_scales_weaken_the_skips() -> None:
    torch.manual_seed(0)
    plain = randomise(build("fcn8s", "vgg16", 3, decoder="padded", head_width=8)).eval()
    scaled = build("fcn8s", "vgg16", 3, decoder="padded", head_width=8, score_scales=(0.01, 0.0001)).eval()
    scaled.load_state_dict(plain.state_dict())
    without = build("fcn8s", "vgg16", 3, decoder="padded", head_width=8, score_scales=(0.0, 0.0)).eval()
    without.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        distances = [float((net(images) - without(images)).abs().mean()) for net in (plain, scaled)]
    assert 0 < distances[1] < distances[0] / 50


def test_the_book_s_logits_start_15_5_pixels_off() -> None:
    layer = fresh("book").get_submodule("upscore")
    assert isinstance(layer, nn.ConvTranspose2d)
    cells = torch.zeros(1, 3, 5, 5)
    cells[0, 0, 2, 2] = 1
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    with torch.inference_mode():
        weights = layer(cells)[0, 0].sum(0)
    centre = (weights * torch.arange(160)).sum() / weights.sum()
    assert centre.item() == pytest.approx(2 * 32 + 15.5)  # and the cell's pixels lie around 2 * 32: test_backbones


@pytest.mark.parametrize(
    "name",
    members(
        [
            "learned 16s",
            "learned 8s",
            "paper 16s",
            "paper 8s",
            "1x1 conv6",
            "1x1 conv6 shared",
            "1x1 conv6 shared 16s",
            "branches",
        ]
    ),
)
def test_the_skips_are_part_of_the_answer(name: str) -> None:
    net = small(name)
    images = torch.randn(1, 3, 64, 64)
    features = net.backbone(images)

    class OtherSkips(nn.Module):
        def forward(self, images: Tensor) -> object:
            stride8 = features.stride8 + 1 if name.endswith(("8s", "conv6", "shared", "branches")) else features.stride8
            return features._replace(stride8=stride8, stride16=features.stride16 + (1 if name.endswith("16s") else 0))

    with torch.inference_mode():
        before = net(images)
        other = build_network(net.architecture).eval()
        other.load_state_dict(net.state_dict())
        other.backbone = OtherSkips()
        assert (other(images) - before).abs().mean() > 1e-6


def test_a_score_branch_is_two_normalised_convolutions_and_a_score_that_starts_at_zero() -> None:
    net = fresh("branches")
    branch = net.get_submodule("score_pool3")
    assert isinstance(branch, ScoreBranch)
    assert [m.kernel_size for m in branch.modules() if isinstance(m, nn.Conv2d)] == [(1, 1), (3, 3), (1, 1)]
    assert not branch.score.weight.any()
