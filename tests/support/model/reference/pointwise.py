"""The FCN-8s, 16s and 32s on VGG16 with 1x1 conv6 and conv7 and learned upsampling.

Poolings round down. The scores of conv7, pool4 and pool3 each pass a ReLU. One transposed convolution of kernel 2 and stride 2
doubles both the coarse scores and their sum with pool4's; one of kernel 8 and stride 8 gives the logits; both have a bias.
After each of them the map takes the size of pool4, of pool3 or of the image by its nearest neighbours. Nothing is dropped.
The FCN-16s ends after pool4 with a transposed convolution of kernel and stride 16; the FCN-32s uses conv7's scores alone, and
one of kernel and stride 32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.support.model.reference import vgg16

HEAD = {"conv6": "head.conv6", "conv7": "head.conv7", "score_conv7": "score_fr"}
NAMES32 = vgg16.NAMES | HEAD | {"last": "upscore32"}
NAMES16 = vgg16.NAMES | HEAD | {"score_pool4": "score_pool4", "doubling": "upscore2", "last": "upscore16"}
NAMES8 = NAMES16 | {"score_pool3": "score_pool3", "last": "upscore8"}


class PointwiseFCN32s(nn.Module):
    STRIDE = 32

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.vgg16 = vgg16.VGG16()
        self.conv6 = nn.Conv2d(512, 4096, 1)
        self.conv7 = nn.Conv2d(4096, 4096, 1)
        self.score_conv7 = nn.Conv2d(4096, classes, 1)
        self.last = nn.ConvTranspose2d(classes, classes, self.STRIDE, self.STRIDE)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool5 = self.vgg16(images)
        return _nearest(self.last(self.coarse(pool5)), images)

    def coarse(self, pool5: Tensor) -> Tensor:
        conv7 = self.conv7(self.conv6(pool5).relu()).relu()
        scores: Tensor = self.score_conv7(conv7).relu()
        return scores


class PointwiseFCN16s(PointwiseFCN32s):
    STRIDE = 16

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.score_pool4 = nn.Conv2d(512, classes, 1)
        self.doubling = nn.ConvTranspose2d(classes, classes, 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool4, pool5 = self.vgg16(images)
        return _nearest(self.last(self.at16(pool4, pool5)), images)

    def at16(self, pool4: Tensor, pool5: Tensor) -> Tensor:
        return _nearest(self.doubling(self.coarse(pool5)), pool4) + self.score_pool4(pool4).relu()


class PointwiseFCN8s(PointwiseFCN16s):
    STRIDE = 8

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.score_pool3 = nn.Conv2d(256, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool3, pool4, pool5 = self.vgg16(images)
        at8 = _nearest(self.doubling(self.at16(pool4, pool5)), pool3) + self.score_pool3(pool3).relu()
        return _nearest(self.last(at8), images)


def _nearest(maps: Tensor, like: Tensor) -> Tensor:
    """Row i of the result is row floor(i * rows / wanted rows) of the maps; columns likewise."""
    for axis in (2, 3):
        rows, target = maps.shape[axis], like.shape[axis]
        maps = maps.index_select(axis, torch.arange(target) * rows // target)
    return maps
