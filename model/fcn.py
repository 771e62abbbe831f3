"""What every fully convolutional network here has: a backbone, a head, and logits of exactly the image's size."""

from __future__ import annotations

from torch import Tensor, nn

from model.architecture import Architecture
from model.backbones import build_backbone
from model.heads import build_head


class FCN(nn.Module):
    """Base of the family; its members differ in how they turn the backbone's maps into logits.

    head_channels: of the maps that the head gives.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = build_backbone(architecture)
        self.head, self.head_channels = build_head(architecture, self.backbone.channels[2])

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W), for every H and W from 1."""
        raise NotImplementedError
