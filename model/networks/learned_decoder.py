"""An FCN that learns its upsampling: transposed convolutions with batch norm, to whose maps the skips' features are added."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from model.architecture import Architecture
from model.networks.fcn import FCN


class LearnedDecoderFCN(FCN):
    """An encoder, and a decoder of five 3x3 transposed convolutions of stride 2, each with ReLU and batch norm.

    It sums features instead of scores: FCN-16s adds the backbone's map of stride 16 after the first transposed convolution,
    FCN-8s also the map of stride 8 after the second one. A 1x1 convolution at full resolution classifies the pixels. All
    kernels start at random and are learned, which Long, Shelhamer & Darrell 2015, section 3.3, mention as a possibility.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        stride8, stride16, _ = self.backbone.channels
        second = stride8 if architecture.variant == "fcn8s" else stride16 // 2
        widths = [self.head_channels, stride16, second, *(max(8, second >> step) for step in (1, 2, 3))]
        self.steps = nn.ModuleList(_Step(before, after) for before, after in pairwise(widths))
        self.score = nn.Conv2d(widths[-1], architecture.num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        features = self.backbone(images)
        variant = self.architecture.variant
        skips = [None if variant == "fcn32s" else features.stride16, features.stride8 if variant == "fcn8s" else None]
        maps = self.head(features.last)
        for step, skip in zip(self.steps, [*skips, None, None, None], strict=True):
            maps = step(maps, skip)
        height, width = images.shape[-2:]
        logits: Tensor = self.score(maps[..., :height, :width])
        return logits.float()


class _Step(nn.Module):
    """Doubles the resolution. A skip is added after the ReLU and before the batch norm."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, maps: Tensor, skip: Tensor | None) -> Tensor:
        maps = self.deconv(maps).relu()
        if skip is not None:
            maps = maps[..., : skip.shape[2], : skip.shape[3]] + skip
        result: Tensor = self.bn(maps)
        return result
