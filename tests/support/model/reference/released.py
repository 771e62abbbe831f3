"""FCN-32s, 16s, 8s and 8s-at-once on VGG16, as Long, Shelhamer & Darrell 2015 released them.

The first convolution pads by 100 pixels; fc6 is a 7x7 convolution without padding, fc7 a 1x1 convolution. Each upsampling is a
dense transposed convolution without bias, with a kernel of twice its stride. A finer map is cropped to the coarser one's size
before the sum, from cell 5 (pool4) or 9 (pool3) on; logits are cropped to the image from pixel 19, 27 or 31 on.
The at-once network multiplies pool4 by 0.01 and pool3 by 0.0001 before their scores.
"""

from __future__ import annotations

from torch import Tensor, nn

from tests.support.model.reference import vgg16

HEAD = {"fc6": "head.fc6", "fc7": "head.fc7", "score_fr": "score_fr"}
NAMES32 = vgg16.NAMES | HEAD | {"upscore": "upscore"}
NAMES16 = vgg16.NAMES | HEAD | {name: name for name in ("score_pool4", "upscore2", "upscore16")}
NAMES8 = vgg16.NAMES | HEAD | {n: n for n in ("score_pool4", "upscore2", "score_pool3", "upscore_pool4", "upscore8")}


class _Released(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.vgg16 = vgg16.VGG16(padding=100, round_up=True)
        self.fc6 = nn.Conv2d(512, 4096, 7)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.score_fr = nn.Conv2d(4096, classes, 1)

    def coarse(self, pool5: Tensor) -> Tensor:
        scores: Tensor = self.score_fr(self.fc7(self.fc6(pool5).relu()).relu())
        return scores


class FCN32s(_Released):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.upscore = _upsampling(classes, 32)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool5 = self.vgg16(images)
        return _cropped(self.upscore(self.coarse(pool5)), 19, images)


class FCN16s(_Released):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.score_pool4 = nn.Conv2d(512, classes, 1)
        self.upscore2 = _upsampling(classes, 2)
        self.upscore16 = _upsampling(classes, 16)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool4, pool5 = self.vgg16(images)
        coarse = self.upscore2(self.coarse(pool5))
        scores = coarse + _cropped(self.score_pool4(pool4), 5, coarse)
        return _cropped(self.upscore16(scores), 27, images)


class FCN8s(_Released):
    """pool4_scale, pool3_scale: 1 in the staged network, 0.01 and 0.0001 in the at-once one."""

    def __init__(self, classes: int, pool4_scale: float = 1.0, pool3_scale: float = 1.0) -> None:
        super().__init__(classes)
        self.scales = pool4_scale, pool3_scale
        self.score_pool4 = nn.Conv2d(512, classes, 1)
        self.score_pool3 = nn.Conv2d(256, classes, 1)
        self.upscore2 = _upsampling(classes, 2)
        self.upscore_pool4 = _upsampling(classes, 2)
        self.upscore8 = _upsampling(classes, 8)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool3, pool4, pool5 = self.vgg16(images)
        pool4_scale, pool3_scale = self.scales
        coarse = self.upscore2(self.coarse(pool5))
        scores = coarse + _cropped(self.score_pool4(pool4_scale * pool4), 5, coarse)
        coarse = self.upscore_pool4(scores)
        scores = coarse + _cropped(self.score_pool3(pool3_scale * pool3), 9, coarse)
        return _cropped(self.upscore8(scores), 31, images)


class FCN8sAtOnce(FCN8s):
    def __init__(self, classes: int) -> None:
        super().__init__(classes, 0.01, 0.0001)


def _upsampling(classes: int, stride: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(classes, classes, 2 * stride, stride, bias=False)


def _cropped(maps: Tensor, start: int, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return maps[:, :, start : start + height, start : start + width]
