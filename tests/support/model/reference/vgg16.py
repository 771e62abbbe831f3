"""The convolutions and poolings of VGG16: configuration D of Simonyan & Zisserman 2015, table 1."""

from __future__ import annotations

from torch import Tensor, nn

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and 3x3 convolutions before each 2x2 pooling
# torchvision counts every layer of its `features`, which ours keep; the names here are those of the paper's Caffe model
POSITIONS = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip
NAMES = {f"vgg16.{name}": f"backbone.features.{position}" for name, position in POSITIONS.items()}


class VGG16(nn.Module):
    """Maps images (N, 3, H, W) to the five pooled maps, pool1 to pool5.

    padding: of the first convolution. round_up: whether a pooling keeps a last row or column of its own (Caffe's way).
    """

    def __init__(self, padding: int = 1, round_up: bool = False) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=round_up)
        before = 3
        for stage, (width, count) in enumerate(STAGES, 1):
            for number in range(1, count + 1):
                first = (stage, number) == (1, 1)
                self.add_module(f"conv{stage}_{number}", nn.Conv2d(before, width, 3, padding=padding if first else 1))
                before = width

    def forward(self, images: Tensor) -> list[Tensor]:
        pools = []
        maps = images
        for stage, (_, count) in enumerate(STAGES, 1):
            for number in range(1, count + 1):
                maps = self.get_submodule(f"conv{stage}_{number}")(maps).relu()
            maps = self.pool(maps)
            pools.append(maps)
        return pools
