"""Backbones, which give feature maps at stride 8, at stride 16 and after the last stage, each on a known grid."""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18, vgg16

from model.architecture import Grid


class Features(NamedTuple):
    """Maps of (N, channels, ceil(H/stride), ceil(W/stride)).

    stride8 and stride16: the skips, on VGG16 pool3 and pool4. last: the last stage's map, at the output stride.
    """

    stride8: Tensor
    stride16: Tensor
    last: Tensor


class Backbone(nn.Module):
    """Maps normalised images (N, bands, H, W) to `Features`.

    grid: where cells lie in their pixels. channels: the numbers of channels of stride8, stride16 and last.
    """

    grid: Grid
    channels: tuple[int, int, int]

    def forward(self, images: Tensor) -> Features:
        raise NotImplementedError


class MobileNetV2Backbone(Backbone):
    """MobileNetV2 (Sandler et al. 2018) up to its last inverted residual.

    The skips are the expanded maps of blocks 7 and 14, the widest maps before each of the last two strides.
    """

    grid: Grid = "corner"

    def __init__(self, output_stride: int, width: float) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None, width_mult=width).features[:18]
        self.channels = (_channels(self, 7)[0], _channels(self, 14)[0], _channels(self, 17)[-1])
        if output_stride == 16:
            _dilate(self.features[14], 1)
            for index in (15, 16, 17):
                _dilate(self.features[index], 2)

    def forward(self, images: Tensor) -> Features:
        skips: dict[int, Tensor] = {}
        maps = images
        for index, block in enumerate(self.features):
            if index in (7, 14):
                expand, *rest = cast(nn.Sequential, block.conv)
                skips[index] = maps = expand(maps)
                for layer in rest:
                    maps = layer(maps)
            else:
                maps = block(maps)
        return Features(skips[7], skips[14], maps)


class ResNet18Backbone(Backbone):
    """ResNet-18 (He et al. 2016) without its pooling and classifier."""

    grid: Grid = "corner"
    channels = (128, 256, 512)

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        net = resnet18(weights=None)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if output_stride == 16:
            # the stage's first convolution reads the undilated map, as it did when it was strided
            _dilate(self.layer4, 2)
            _dilate(self.layer4[0].conv1, 1)

    def forward(self, images: Tensor) -> Features:
        stride8 = self.layer2(self.layer1(self.stem(images)))
        stride16 = self.layer3(stride8)
        return Features(stride8, stride16, self.layer4(stride16))


class VGG16Backbone(Backbone):
    """VGG16 (Simonyan & Zisserman 2015) up to pool5. Poolings round sizes up, so every pixel has a cell.

    At output stride 16, pool5 is a 3x3 pooling of stride 1 (DeepLab-LargeFOV, Chen et al. 2015), and the head's fc6 is dilated.
    """

    grid: Grid = "half_pixel"
    channels = (256, 512, 512)

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        self.features = vgg16(weights=None).features
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
        if output_stride == 16:
            self.features[30] = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, images: Tensor) -> Features:
        pool3 = self.features[:17](images)
        pool4 = self.features[17:24](pool3)
        return Features(pool3, pool4, self.features[24:](pool4))


def _dilate(block: nn.Module, dilation: int) -> None:
    """Sets every convolution of the block to stride 1, and its 3x3 ones to this dilation (atrous, Chen et al. 2015)."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
            if layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (dilation, dilation)


def _channels(net: MobileNetV2Backbone, index: int) -> list[int]:
    """The numbers of channels that the convolutions of a block give: first of its expanded map, last of its output."""
    return [layer.out_channels for layer in net.features[index].modules() if isinstance(layer, nn.Conv2d)]
