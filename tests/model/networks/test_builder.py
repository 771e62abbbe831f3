"""Building networks by arguments, and loading backbones from the layout in which torchvision publishes them."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from benchmarks.harness.narrow import randomise
from model.architecture import Architecture, ArchitectureError
from model.networks.builder import _fully_convolutional, build, load_classifier
from tests.support.model.networks import vgg16_layout


@cache
def published(name: str) -> torch.nn.Module:
    """A torchvision classifier with random batch-norm statistics, in evaluation mode."""
    torch.manual_seed(3)
    return randomise(torchvision.models.get_model(name, weights=None)).eval()


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_a_loaded_backbone_computes_what_the_classifier_computes(name: str) -> None:
    classifier, net = published(name), build("fcn8s", name, 2)
    load_classifier(net, classifier.state_dict())
    images = torch.randn(1, 3, 65, 90)
    with torch.inference_mode():
        maps = net.backbone.eval()(images)
        if name == "mobilenet_v2":
            expected = classifier.features[:18](images)
            skip = classifier.features[7].conv[0](classifier.features[:7](images))
        else:
            stem = classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(images))))
            skip = classifier.layer2(classifier.layer1(stem))
            expected = classifier.layer4(classifier.layer3(skip))
    assert expected.std() > 0
    torch.testing.assert_close(maps.last, expected)
    torch.testing.assert_close(maps.stride8, skip)


def test_fc6_and_fc7_as_convolutions_compute_the_linear_layers() -> None:
    def hankel(rows: int, columns: int) -> Tensor:
        """A matrix of distinct rows in little memory: entry (i, j) is number i + j of a random line."""
        return torch.randn(rows + columns - 1).as_strided((rows, columns), (1, 1))

    torch.manual_seed(0)
    fc6, fc7 = hankel(4096, 25088), hankel(4096, 4096)
    biases = torch.randn(2, 4096)
    layers = {"classifier.0.weight": fc6, "classifier.0.bias": biases[0]}
    state = _fully_convolutional(layers | {"classifier.3.weight": fc7, "classifier.3.bias": biases[1]})
    maps = torch.randn(1, 512, 7, 7)
    few = slice(0, 4096, 512)
    result = F.conv2d(maps, state["fc6.weight"][few], state["fc6.bias"][few])
    torch.testing.assert_close(result.flatten(), F.linear(maps.flatten(), fc6[few], biases[0, few]), atol=1e-3, rtol=0)
    vector = torch.randn(1, 4096, 1, 1)
    result = F.conv2d(vector, state["fc7.weight"][few], state["fc7.bias"][few])
    torch.testing.assert_close(result.flatten(), F.linear(vector.flatten(), fc7[few], biases[1, few]), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("backbone", "lacking"),
    [("mobilenet_v2", "features.3.conv.0.0.weight"), ("vgg16", "features.28.bias")],
)
def test_a_missing_tensor_is_named(backbone: str, lacking: str) -> None:
    state = vgg16_layout() if backbone == "vgg16" else published(backbone).state_dict()
    with torch.device("meta"):
        net = build("fcn8s", backbone, 2)
    with pytest.raises(ValueError, match=rf"lacks 1 .*{lacking}"):
        load_classifier(net, {name: tensor for name, tensor in state.items() if name != lacking})


def test_a_tensor_of_another_shape_is_named() -> None:
    state = published("resnet18").state_dict() | {"conv1.weight": torch.zeros(5, 3, 3, 3)}
    with torch.device("meta"):
        net = build("fcn8s", "resnet18", 2)
    with pytest.raises(ValueError, match=r"stem.0.weight .*\(64, 3, 7, 7\), got \(5, 3, 3, 3\)"):
        load_classifier(net, state)


def test_counters_of_batches_may_be_missing() -> None:
    state = {name: t for name, t in published("resnet18").state_dict().items() if "num_batches" not in name}
    net = build("fcn8s", "resnet18", 2, head="none")
    load_classifier(net, state)
    assert torch.equal(net.backbone.state_dict()["stem.0.weight"], state["conv1.weight"])


def test_networks_are_built_in_training_mode_and_remember_their_arguments() -> None:
    net = build("fcn16s", "mobilenet_v2", 7, output_stride=16, head="pooled", head_width=8, width=0.1)
    assert net.training
    assert net.architecture == Architecture("fcn16s", "mobilenet_v2", 7, 16, "pooled", 8, 0.1)
    assert Architecture.from_dict(net.architecture.to_dict()) == net.architecture


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "alexnet"}, r"backbone must be one of mobilenet_v2, .*, resnet18, timm/NAME, got 'alexnet'"),
        ({"backbone": "mobilenet_edgetpu", "output_stride": 32}, "mobilenet_edgetpu has output_stride 16 alone, got 32"),
        ({"decoder": "padded"}, "the decoder padded needs backbone vgg16, got mobilenet_v2"),
        ({"decoder": "transposed"}, "the decoder transposed needs variant fcn32s, got fcn8s"),
        ({"decoder": "learned", "skip_width": 8}, "skip_width must be 0, got 8"),
        ({"decoder": "shared", "backbone": "vgg16"}, "the decoder shared needs head conv1x1, got fc"),
        (
            {"decoder": "shared", "backbone": "vgg16", "head": "conv1x1", "output_stride": 16},
            "the decoder shared needs output_stride 32, got 16",
        ),
        (
            {"decoder": "shared", "backbone": "vgg16", "head": "conv1x1", "skip_width": 8},
            "the decoder shared needs skip_width 0, got 8",
        ),
        ({"dropout": 1.0}, "dropout must be a probability from 0 to below 1, got 1.0"),
        ({"dropout": 0.3}, "dropout is for the heads fc on vgg16 and conv1x1, got 0.3 with"),
        ({"score_scales": (0.01, 0.0001)}, r"score_scales are for the decoder padded, got \(0.01, 0.0001\) with aligned"),
        ({"num_classes": 0}, "num_classes must be 1 to 255"),
        ({"head_width": 0}, "head_width must be at least 1, got 0"),
        ({"backbone": "resnet18", "width": 0.5}, r"width must be 1.0 on resnet18 .* got 0.5"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        build(**({"variant": "fcn8s", "backbone": "mobilenet_v2", "num_classes": 2} | arguments))


def test_unknown_and_missing_arguments_of_a_stored_architecture_are_named() -> None:
    with pytest.raises(ArchitectureError, match=r"unknown architecture arguments \['depth'\]"):
        Architecture.from_dict({"variant": "fcn8s", "backbone": "vgg16", "num_classes": 2, "depth": 3})
    with pytest.raises(ArchitectureError, match=r"incomplete architecture .* 'num_classes'"):
        Architecture.from_dict({"variant": "fcn8s", "backbone": "vgg16"})
