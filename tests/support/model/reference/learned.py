"""The FCN-16s on VGG16 with a learned decoder.

Five 3x3 transposed convolutions of stride 2 (padding 1, output padding 1) of 512, 256, 128, 64 and 32 channels follow pool5,
each with ReLU and batch norm; pool4 is added between the first one's ReLU and batch norm. A 1x1 convolution scores. The source
accepts sides that are multiples of 32; for others, here, poolings round up and maps are cut at the far edges.
"""

from __future__ import annotations

from torch import Tensor, nn

from tests.support.model.reference import vgg16

NAMES = (
    vgg16.NAMES
    | {f"deconv{step + 1}": f"steps.{step}.deconv" for step in range(5)}
    | {f"bn{step + 1}": f"steps.{step}.bn" for step in range(5)}
    | {"score": "score"}
)


class LearnedFCN16s(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.vgg16 = vgg16.VGG16(round_up=True)
        self.deconv1, self.bn1 = _doubling(512, 512), nn.BatchNorm2d(512)
        self.deconv2, self.bn2 = _doubling(512, 256), nn.BatchNorm2d(256)
        self.deconv3, self.bn3 = _doubling(256, 128), nn.BatchNorm2d(128)
        self.deconv4, self.bn4 = _doubling(128, 64), nn.BatchNorm2d(64)
        self.deconv5, self.bn5 = _doubling(64, 32), nn.BatchNorm2d(32)
        self.score = nn.Conv2d(32, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        *_, pool4, pool5 = self.vgg16(images)
        maps = self.bn1(_cut(self.deconv1(pool5).relu(), pool4) + pool4)
        maps = self.bn2(self.deconv2(maps).relu())
        maps = self.bn3(self.deconv3(maps).relu())
        maps = self.bn4(self.deconv4(maps).relu())
        maps = self.bn5(self.deconv5(maps).relu())
        logits: Tensor = self.score(_cut(maps, images))
        return logits


def _doubling(before: int, after: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)


def _cut(maps: Tensor, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return maps[:, :, :height, :width]
