"""Folding batch normalisation: the same function, no batch norm left."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from benchmarks.harness.narrow import randomise
from model.networks.builder import build
from model.networks.servable import fold_batch_norm


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("mobilenet_v2", {"width": 0.1, "head": "pooled"}),
        ("resnet18", {}),
    ],
    ids=["mobilenet_v2, pooled head", "resnet18"],
)
def test_a_folded_network_computes_the_same(backbone: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    net = randomise(build("fcn8s", backbone, 3, **{"head_width": 8} | options)).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.8, 1.2)
            nn.init.normal_(layer.bias, 0, 0.1)
    folded = deepcopy(net)
    fold_batch_norm(folded)
    assert [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d)] == []
    images = torch.randn(2, 3, 45, 70)
    with torch.inference_mode():
        expected = net(images)
        torch.testing.assert_close(folded(images), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


def test_a_batch_norm_that_follows_no_convolution_stays() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)).eval()
    fold_batch_norm(net)
    assert isinstance(net[2], nn.BatchNorm2d)


def test_training_networks_are_refused() -> None:
    with pytest.raises(AssertionError):
        fold_batch_norm(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
