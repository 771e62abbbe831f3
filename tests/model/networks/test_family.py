"""The members of the family: sizes, gradients, parameters, and what each one is known by."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import pytest
import torch
from torch import nn

from benchmarks.harness.narrow import randomise
from model.networks.builder import build, load_classifier
from model.networks.fcn import FCN
from model.networks.heads import ScoreBranch
from tests.support.model.networks import vgg16_layout

NARROW = {"backbone": "mobilenet_v2", "width": 0.1}
MEMBERS = {
    "aligned 32s": NARROW | {"variant": "fcn32s"},
    "aligned 16s": NARROW | {"variant": "fcn16s"},
    "aligned 8s": NARROW | {"variant": "fcn8s", "head": "none"},
    "aligned 16s, dilated": NARROW | {"variant": "fcn16s", "output_stride": 16, "head": "conv1x1"},
    "aligned 8s, dilated": NARROW | {"variant": "fcn8s", "output_stride": 16, "head": "pooled"},
    "paper 32s": {"variant": "fcn32s", "backbone": "vgg16", "decoder": "padded"},
    "paper 16s": {"variant": "fcn16s", "backbone": "vgg16", "decoder": "padded"},
    "paper 8s": {"variant": "fcn8s", "backbone": "vgg16", "decoder": "padded"},
    "1x1 conv6": {"variant": "fcn8s", "backbone": "vgg16", "decoder": "interpolated", "head": "conv1x1"},
    "1x1 conv6 shared": {"variant": "fcn8s", "backbone": "vgg16", "decoder": "shared", "head": "conv1x1"},
    "1x1 conv6 shared 16s": {"variant": "fcn16s", "backbone": "vgg16", "decoder": "shared", "head": "conv1x1"},
    "1x1 conv6 shared 32s": {"variant": "fcn32s", "backbone": "vgg16", "decoder": "shared", "head": "conv1x1"},
    "book": {"variant": "fcn32s", "backbone": "resnet18", "decoder": "transposed", "head": "none"},
    "learned 32s": NARROW | {"variant": "fcn32s", "decoder": "learned", "head": "none"},
    "learned 16s": NARROW | {"variant": "fcn16s", "decoder": "learned", "head": "none"},
    "learned 8s": NARROW | {"variant": "fcn8s", "decoder": "learned", "head": "fc"},
    "branches": NARROW | {"variant": "fcn8s", "output_stride": 16, "skip_width": 6},
}
SIZES = [(1, 1), (1, 300), (31, 32), (33, 33), (65, 64), (90, 127)]
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
def test_each_image_of_a_batch_has_finite_float32_logits_of_its_size(name: str) -> None:
    net = small(name)
    assert net.least_side == LEAST.get(name, 1)
    with torch.inference_mode():
        for size in [size for size in [(net.least_side, net.least_side), *SIZES] if min(size) >= net.least_side]:
            images = torch.randn(2, 3, *size)
            logits = net(images)
            assert (logits.shape, logits.dtype) == ((2, 3, *size), torch.float32)
            assert logits.isfinite().all()
            torch.testing.assert_close(logits[1:], net(images[1:]), atol=1e-4 * logits.abs().max().item(), rtol=0)


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
    """Of a fresh network as well where its scores go through a ReLU."""
    for net in (randomise(fresh(name)), *([fresh(name)] if name in LEAST else [])):
        logits = net.train()(torch.randn(2, 3, 70, 64))
        (logits * torch.randn_like(logits)).sum().backward()
        frozen = {n for n, p in net.named_parameters() if not p.requires_grad}
        assert frozen == ({f"{net.final_name}.weight"} if name.startswith("paper") else set())
        assert [n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())] == []


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
@pytest.mark.parametrize(("coarse", "fine"), [("paper 32s", "paper 16s"), ("paper 16s", "paper 8s")])
def test_a_stage_of_the_paper_starts_from_the_last(coarse: str, fine: str) -> None:
    source, net = small(coarse), fresh(fine).eval()
    state = {name: tensor for name, tensor in source.state_dict().items() if name in net.state_dict()}
    missing = net.load_state_dict(state, strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} == {
        *({"upscore2", "score_pool4", "upscore16"} if fine == "paper 16s" else {"upscore_pool4", "score_pool3", "upscore8"})
    }
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        before, after = source(images), net(images)
    # upsampling in two bilinear steps differs a little from one, and from nothing else
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.97


@pytest.mark.parametrize(("name", "skip"), [("learned 16s", "stride16"), ("learned 8s", "stride16"), ("learned 8s", "stride8")])
def test_the_learned_decoder_adds_its_skips(name: str, skip: str) -> None:
    net, images = small(name), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = net(images)
        change = net.backbone.register_forward_hook(lambda *call: call[2]._replace(**{skip: getattr(call[2], skip) + 1}))
        after = net(images)
    change.remove()
    assert (after - before).abs().mean() > 1e-6


def test_a_score_branch_is_two_normalised_convolutions_and_a_score_that_starts_at_zero() -> None:
    net = fresh("branches")
    branch = net.get_submodule("score_pool3")
    assert isinstance(branch, ScoreBranch)
    assert [m.kernel_size for m in branch.modules() if isinstance(m, nn.Conv2d)] == [(1, 1), (3, 3), (1, 1)]
    assert not branch.score.weight.any()
