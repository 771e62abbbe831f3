"""The network as it is served: the tensors of a file, and the folded network on pixels against the plain one."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.harness.narrow import narrow_net, randomise
from model.manifest import WeightsError
from model.networks.builder import build
from model.networks.fcn import FCN
from model.networks.servable import ServableNetwork, fold_batch_norm, half_tensors, load_network, normalise
from model.weights_file import Weights, load_weights, save_weights
from tests.support.images import make_photo
from tests.support.model.weights_files import content
from tests.support.variants import long


def test_the_network_comes_back_within_half_precision_ready_to_run(narrow_file: Path, narrow: Weights) -> None:
    net = load_network(narrow)
    assert not net.training
    assert net.architecture == narrow.manifest.architecture
    content_tensors = content(narrow_file)[1]
    for name, tensor in net.state_dict().items():
        assert content_tensors[name].dtype == (torch.float16 if tensor.is_floating_point() else tensor.dtype)
        assert tensor.dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(tensor, content_tensors[name].to(tensor.dtype), atol=0, rtol=0)


def net_with(value: float, ending: str = "running_var") -> tuple[FCN, str]:
    """The narrow network with this value in a tensor whose name has this ending; and the tensor's name."""
    net = narrow_net()
    name = next(name for name in net.state_dict() if name.endswith(ending))
    net.state_dict()[name][0] = value
    return net, name


@pytest.mark.parametrize("value", [1e5, -7e4, 3e38])
def test_a_tensor_beyond_float16_stays_in_float32(tmp_path: Path, narrow: Weights, value: float) -> None:
    net, name = net_with(value)
    path = tmp_path / "net.safetensors"
    save_weights(path, half_tensors(net), narrow.manifest)
    content_tensors = content(path)[1]
    assert {n for n, t in content_tensors.items() if t.dtype == torch.float32} == {name}
    assert load_network(load_weights(path)).state_dict()[name][0] == torch.tensor(value)


def test_a_network_beyond_float16_is_not_served_in_it(tmp_path: Path, narrow: Weights) -> None:
    net, _ = net_with(1e5, "score_fr.bias")
    save_weights(tmp_path / "net.safetensors", half_tensors(net), narrow.manifest)
    weights = load_weights(tmp_path / "net.safetensors")
    ServableNetwork(weights)
    with pytest.raises(WeightsError, match=r"net: .*score_fr\.bias .*float16"):
        ServableNetwork(weights, torch.float16)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_is_not_finite_is_refused_by_its_name(value: float) -> None:
    net, name = net_with(value)
    with pytest.raises(WeightsError, match=f"{name} holds infinity or NaN"):
        half_tensors(net)


@pytest.mark.usefixtures("quick_vgg16")
@pytest.mark.parametrize("variant", ["fcn8s", *long("fcn16s", "fcn32s")])
def test_the_decoder_shared_is_served_at_full_resolution(narrow: Weights, variant: str) -> None:
    torch.manual_seed(0)
    net = randomise(build(variant, "vgg16", 4, head="conv1x1", head_width=8, output_stride=32, decoder="shared")).eval()
    tensors = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    network = ServableNetwork(
        replace(narrow, manifest=replace(narrow.manifest, architecture=net.architecture), tensors=tensors)
    )
    assert network.stride == 1
    for size in ((32, 32), (96, 64)):
        pixels = torch.tensor(make_photo(*size))[None]
        with torch.inference_mode():
            logits = network(pixels)
            expected = net(normalise(pixels.permute(0, 3, 1, 2), narrow.manifest.preprocessing))
        assert (logits.dtype, logits.shape) == (torch.float32, (1, 4, *size))
        assert len(logits.argmax(1).unique()) > 1
        torch.testing.assert_close(logits, expected, atol=1e-4 * float(logits.max() - logits.min()), rtol=0)


@pytest.mark.parametrize(("backbone", "options"), [("mobilenet_v2", {"width": 0.1, "head": "pooled"}), ("resnet18", {})])
def test_a_folded_network_computes_the_same(backbone: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    net = randomise(build("fcn8s", backbone, 3, **{"head_width": 8} | options)).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.8, 1.2)
            nn.init.normal_(layer.bias, 0, 0.1)
    copy = deepcopy(net)
    fold_batch_norm(copy)
    assert [layer for layer in copy.modules() if isinstance(layer, nn.BatchNorm2d)] == []
    images = torch.randn(2, 3, 45, 70)
    with torch.inference_mode():
        expected = net(images)
        torch.testing.assert_close(copy(images), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


def test_a_batch_norm_that_follows_no_convolution_stays() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)).eval()
    fold_batch_norm(net)
    assert isinstance(net[2], nn.BatchNorm2d)
