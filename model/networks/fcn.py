"""The base class of all networks here: a backbone, a head, and logits of exactly the image's size.

The first convolution of a backbone may read more bands than photos have; it begins from one of photos.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from torch import Tensor, nn

from model.architecture import TIMM, Architecture, Grid
from model.networks.backbones import Backbone, MobileNetV2Backbone, ResNet18Backbone, VGG16Backbone
from model.networks.heads import build_head
from model.networks.mobilenet_edgetpu import MobileNetEdgeTPUBackbone
from model.networks.timm_backbone import TimmBackbone
from model.preprocessing import RGB


class FCN(nn.Module):
    """Base of the family. Its members differ in how they turn the backbone's maps into logits.

    head_channels: number of channels of the head's maps. score_stride: pixels per cell of `scores`. grid: where in those
    pixels the cell lies. least_side: the smallest height and width of an image, in pixels.
    """

    least_side: int = 1
    score_stride: int = 1
    grid: Grid = "corner"

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = build_backbone(architecture)
        see_bands(self, architecture.bands)
        self.head, self.head_channels = build_head(architecture, self.backbone.channels[2])

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, bands, H, W), for every H and W from `least_side`.

        Smaller images raise `ValueError` where `least_side` is above 1.
        """
        raise NotImplementedError

    def scores(self, images: Tensor) -> Tensor:
        """Scores (N, classes, ceil(H/score_stride), ceil(W/score_stride)), whose bilinear upsampling gives the logits."""
        return self.forward(images)


def build_backbone(architecture: Architecture) -> Backbone:
    """Builds the architecture's backbone for photos, untrained; raises `ArchitectureError` for an unfit encoder of timm."""
    if architecture.backbone.startswith(TIMM):
        return TimmBackbone(architecture.backbone.removeprefix(TIMM), architecture.output_stride)
    if architecture.backbone == "mobilenet_v2":
        return MobileNetV2Backbone(architecture.output_stride, architecture.width)
    if architecture.backbone == "mobilenet_edgetpu":
        return MobileNetEdgeTPUBackbone()
    if architecture.backbone == "resnet18":
        return ResNet18Backbone(architecture.output_stride)
    return VGG16Backbone(architecture.output_stride)


def see_bands(net: FCN, bands: int) -> None:
    """Changes the first convolution of a network for photos so that it reads images of so many bands, as timm widens it.

    The bands get the weights of red, green and blue in turn, scaled by 3 / bands, so the sum over all bands keeps its size.
    """
    layer = next(each for each in net.backbone.modules() if isinstance(each, nn.Conv2d))
    if layer.in_channels != bands:
        weight = layer.weight.detach().repeat(1, ceil(bands / len(RGB)), 1, 1)[:, :bands]
        layer.weight = nn.Parameter(weight * (len(RGB) / bands))
        layer.in_channels = bands
    net.architecture = replace(net.architecture, bands=bands)
