"""The FCN-8s on VGG16 with 1x1 conv6 and conv7 and learned upsampling.

Poolings round down. The scores of conv7, pool4 and pool3 each pass a ReLU. One transposed convolution of kernel 2 and stride 2
doubles both the coarse scores and their sum with pool4's; one of kernel 8 and stride 8 gives the logits; both have a bias.
After each of them the map takes the size of pool4, of pool3 or of the image by its nearest neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.support.model.reference import vgg16

NAMES = vgg16.NAMES | {
    "conv6": "head.conv6",
    "conv7": "head.conv7",
    "score_conv7": "score_fr",
    "score_pool4": "score_pool4",
    "score_pool3": "score_pool3",
    "doubling": "upscore2",
    "eightfold": "upscore8",
}


class PointwiseFCN8s(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.vgg16 = vgg16.VGG16()
        self.conv6 = nn.Conv2d(512, 4096, 1)
        self.conv7 = nn.Conv2d(4096, 4096, 1)
        self.score_conv7 = nn.Conv2d(4096, classes, 1)
        self.score_pool4 = nn.Conv2d(512, classes, 1)
        self.score_pool3 = nn.Conv2d(256, classes, 1)
        self.doubling = nn.ConvTranspose2d(classes, classes, 2, 2)
        self.eightfold = nn.ConvTranspose2d(classes, classes, 8, 8)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool3, pool4, pool5 = self.vgg16(images)
        conv7 = self.conv7(self.conv6(pool5).relu()).relu()
        at16 = _nearest(self.doubling(self.score_conv7(conv7).relu()), pool4) + self.score_pool4(pool4).relu()
        at8 = _nearest(self.doubling(at16), pool3) + self.score_pool3(pool3).relu()
        return _nearest(self.eightfold(at8), images)


def _nearest(maps: Tensor, like: Tensor) -> Tensor:
    """Row i of the result is row floor(i * rows / wanted rows) of the maps; columns likewise."""
    for axis in (2, 3):
        rows, wanted = maps.shape[axis], like.shape[axis]
        maps = maps.index_select(axis, torch.arange(wanted) * rows // wanted)
    return maps
