"""What every fully convolutional network here has: a backbone, a head, and logits of exactly the image's size."""

from __future__ import annotations

from torch import Tensor, nn

from model.architecture import Architecture
from model.backbones import build_backbone
from model.heads import build_head
from model.upsampling import Grid


class FCN(nn.Module):
    """Base of the family; its members differ in how they turn the backbone's maps into logits.

    head_channels: of the maps that the head gives. score_stride: pixels per cell of `scores`, and grid: where in them
    the cell lies.
    """

    score_stride: int = 1
    grid: Grid = "corner"

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = build_backbone(architecture)
        self.head, self.head_channels = build_head(architecture, self.backbone.channels[2])

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        raise NotImplementedError

    def scores(self, images: Tensor) -> Tensor:
        """Scores (N, classes, ceil(H/score_stride), ceil(W/score_stride)); bilinear upsampling of them gives the logits."""
        return self.forward(images)
