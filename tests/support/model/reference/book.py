"""The FCN-32s of *Dive into Deep Learning* (Zhang et al. 2023, section 14.11), on ResNet-18 (He et al. 2016, table 1).

ResNet-18 without its last two layers, a 1x1 convolution to the classes, a transposed convolution of kernel 64, padding 16 and
stride 32 with a bias. The book's images have sides that are multiples of 32; for others the logits are cut at the far edges.
"""

from __future__ import annotations

from torch import Tensor, nn

STAGES = (64, 128, 256, 512)
BLOCK = {name: name for name in ("conv1", "bn1", "conv2", "bn2")}
SHORTCUT = {"shortcut": "downsample.0", "shortcut_bn": "downsample.1"}
NAMES = {"conv": "backbone.stem.0", "bn": "backbone.stem.1", "score": "score_fr", "upscore": "upscore"} | {
    f"stages.{stage}.{block}.{name}": f"backbone.layer{stage + 1}.{block}.{ours}"
    for stage in range(4)
    for block in range(2)
    for name, ours in (BLOCK | SHORTCUT if stage and not block else BLOCK).items()
}


class ResNet18FCN32s(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        befores = (64, *STAGES[:-1])
        stages = [
            nn.Sequential(_Block(before, width), _Block(width, width)) for before, width in zip(befores, STAGES, strict=True)
        ]
        self.stages = nn.Sequential(*stages)
        self.score = nn.Conv2d(512, classes, 1)
        self.upscore = nn.ConvTranspose2d(classes, classes, 64, stride=32, padding=16)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        maps = self.stages(self.pool(self.bn(self.conv(images)).relu()))
        logits: Tensor = self.upscore(self.score(maps))
        return logits[:, :, :height, :width]


class _Block(nn.Module):
    """Two 3x3 convolutions beside the identity; a block that widens halves the resolution, with a 1x1 shortcut."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        stride = 1 if before == width else 2
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.widens = before != width
        if self.widens:
            self.shortcut = nn.Conv2d(before, width, 1, stride=stride, bias=False)
            self.shortcut_bn = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        identity = self.shortcut_bn(self.shortcut(maps)) if self.widens else maps
        change = self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu()))
        return (change + identity).relu()
