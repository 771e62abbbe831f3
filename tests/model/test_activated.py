"""Convolutions with their activation: the same function, also as a graph, and nothing else replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from model.activated import ActivatedConvolution, activate_convolutions, clamped_convolution
from model.builder import build
from model.folding import fold_batch_norm
from model.tracing import traced
from tests.conftest import randomise

pytestmark = pytest.mark.skipif(clamped_convolution(torch.float32) is None, reason="this PyTorch has no oneDNN")


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-0.25, 0.5)], ids=["relu", "relu6", "hardtanh"])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "bias": False},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": (2, 0), "dilation": (2, 1), "groups": 16},
    ],
    ids=["pointwise", "no bias", "strided", "depthwise"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@torch.inference_mode()
def test_it_is_the_convolution_and_then_the_activation(
    dtype: torch.dtype, options: dict[str, object], activation: nn.Module
) -> None:
    torch.manual_seed(0)
    expected = nn.Sequential(nn.Conv2d(16, 32, **options), activation).to(dtype)  # type: ignore[arg-type]
    maps = torch.randn(2, 16, 9, 14, dtype=dtype).to(memory_format=torch.channels_last)
    net = nn.Sequential(*expected)
    activate_convolutions(net, dtype)
    assert isinstance(net[0], ActivatedConvolution) or clamped_convolution(dtype) is None
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(net(maps), expected(maps), atol=tolerance, rtol=tolerance)


@torch.inference_mode()
def test_a_graph_of_it_maps_other_sizes_as_well() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU6())
    maps = 9 * torch.randn(1, 8, 11, 6)
    expected = net(maps)
    activate_convolutions(net, torch.float32)
    graph = traced(net.eval(), torch.randn(1, 8, 4, 4), maps)
    assert isinstance(graph, torch.jit.ScriptModule)
    assert "aten::hardtanh" not in str(graph.graph)
    torch.testing.assert_close(graph(maps), expected, atol=1e-5, rtol=1e-5)


def test_pairs_of_a_sequence_alone_are_replaced() -> None:
    def pair(convolution: nn.Module, activation: nn.Module) -> nn.Sequential:
        return nn.Sequential(convolution, nn.Identity(), activation)

    net = nn.ModuleDict(
        {
            "padded": pair(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU6()),
            "in place": pair(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True)),
            "reflecting": pair(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
            "same": pair(nn.Conv2d(4, 4, 3, padding="same"), nn.ReLU()),
            "smooth": pair(nn.Conv2d(4, 4, 1), nn.GELU()),
            "transposed": pair(nn.ConvTranspose2d(4, 4, 2), nn.ReLU()),
            "dropped": nn.Sequential(nn.Conv2d(4, 4, 1), nn.Dropout2d(), nn.ReLU()),
            "no sequence": nn.ModuleDict({"conv": nn.Conv2d(4, 4, 1), "relu": nn.ReLU()}),
        }
    )
    activate_convolutions(net, torch.float32)
    replaced = {name for name, part in net.items() if any(isinstance(layer, ActivatedConvolution) for layer in part.modules())}
    assert replaced == {"padded", "in place"}
    assert [type(layer) for layer in net["padded"]] == [ActivatedConvolution, nn.Identity, nn.Identity]  # type: ignore[arg-type]


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18", "vgg16"])
@torch.inference_mode()
def test_a_network_computes_the_same(backbone: str) -> None:
    torch.manual_seed(0)
    options = {"head_width": 8} | ({"width": 0.1} if backbone == "mobilenet_v2" else {})
    net = randomise(build("fcn8s", backbone, 3, **options)).eval()
    images = torch.randn(1, 3, 64, 96)
    expected = net(images)
    fold_batch_norm(net)
    activate_convolutions(net, torch.float32)
    assert any(isinstance(layer, ActivatedConvolution) for layer in net.modules())
    torch.testing.assert_close(net(images), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


@pytest.fixture
def forgotten() -> Iterator[None]:
    clamped_convolution.cache_clear()
    yield
    clamped_convolution.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_where_the_operation_is_missing_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
    monkeypatch.setattr("model.activated.SOURCE", "def clamped(x: Tensor) -> Tensor:\n    return torch.ops.mkldnn.none(x)\n")
    activate_convolutions(net, torch.float32)
    assert isinstance(net[0], nn.Conv2d)
