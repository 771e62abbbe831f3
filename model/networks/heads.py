"""Heads, which process the backbone's last map, and score layers of the skips."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from model.architecture import Architecture


class TwoLayerHead(nn.Sequential):
    """A convolution and a 1x1 convolution, named 6 and 7, each with ReLU and dropout.

    VGG16's fc6 and fc7 have a 7x7 convolution and dropout per element (Long et al. 2015, section 4.1); conv6 and conv7 are
    reduced to one cell of input, with dropout per channel.
    """

    def __init__(self, name: str, first: nn.Conv2d, dropout: type[nn.Dropout | nn.Dropout2d], probability: float) -> None:
        super().__init__()
        for number, layer in ((6, first), (7, nn.Conv2d(first.out_channels, first.out_channels, 1))):
            self.add_module(f"{name}{number}", layer)
            self.add_module(f"relu{number}", nn.ReLU(inplace=True))
            self.add_module(f"drop{number}", dropout(probability))


class PooledHead(nn.Module):
    """A 1x1 convolution beside the map's global mean, projected (DeepLabv3, Chen et al. 2017, section 3.3)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.image_pooling = nn.Conv2d(channels, width, 1)
        self.aspp0 = nn.Conv2d(channels, width, 1)
        self.concat_projection = nn.Conv2d(2 * width, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        mean = maps.mean((2, 3), keepdim=True)
        context = self.image_pooling(mean).relu().expand(-1, -1, *maps.shape[-2:])
        projection: Tensor = self.concat_projection(torch.cat([context, self.aspp0(maps).relu()], 1))
        return projection.relu()


def build_head(architecture: Architecture, channels: int) -> tuple[nn.Module, int]:
    """Builds the head for a last map with `channels` channels; returns it and its number of output channels."""
    width, dropout = architecture.head_width, architecture.dropout
    if architecture.head == "none":
        return nn.Identity(), channels
    if architecture.head == "pooled":
        return PooledHead(channels, width), width
    if architecture.head == "conv1x1":
        return TwoLayerHead("conv", nn.Conv2d(channels, width, 1), nn.Dropout2d, dropout), width
    if architecture.backbone == "vgg16":
        dilation = 32 // architecture.output_stride
        fc6 = nn.Conv2d(channels, width, 7, padding=3 * dilation, dilation=dilation)
        return TwoLayerHead("fc", fc6, nn.Dropout, dropout), width
    return Conv2dNormActivation(channels, width, 1), width


class ScoreBranch(nn.Sequential):
    """A skip's score after a 1x1 and a 3x3 convolution with batch norm, with which it can tell edges from texture."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.reduce, self.refine = Conv2dNormActivation(channels, width, 1), Conv2dNormActivation(width, width, 3)
        self.score = _zero_score(width, classes)


def skip_score(channels: int, architecture: Architecture) -> nn.Module:
    """Builds the score layer of a skip with `channels` channels. Its scores start at zero."""
    if architecture.skip_width:
        return ScoreBranch(channels, architecture.skip_width, architecture.num_scores)
    return _zero_score(channels, architecture.num_scores)


def _zero_score(channels: int, classes: int) -> nn.Conv2d:
    """A 1x1 convolution with zero weights and biases."""
    layer = nn.Conv2d(channels, classes, 1)
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
