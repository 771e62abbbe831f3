"""MobileNet-EdgeTPU: MobileNetV2 with full convolutions in place of the first depthwise ones.

After Howard & Gupta 2019, "Introducing the Next Generation of On-Device Vision Models: MobileNetV3 and MobileNetEdgeTPU". Batch
norm is folded into the convolutions: each of them has a bias, and the network is trained without batch norm.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from model.architecture import Grid
from model.networks.backbones import Backbone, Features


class Block(NamedTuple):
    """Parameters of an inverted residual.

    is_fused: whether one k x k convolution expands; otherwise a 1x1 convolution expands and a depthwise k x k one follows.
    kernel: k. expansion: channels after the expansion. channels: of the output.
    """

    is_fused: bool
    kernel: int
    expansion: int
    stride: int
    dilation: int
    channels: int


STEM, STEM_PROJECTION, LAST = 24, 16, 1280
# at output stride 16, so the last stage is dilated instead of strided
BLOCKS = (
    Block(True, 3, 128, 2, 1, 24), *[Block(True, 3, 96, 1, 1, 24)] * 3,
    Block(True, 3, 192, 2, 1, 40), *[Block(True, 3, 160, 1, 1, 40)] * 3,
    Block(False, 3, 320, 2, 1, 72), *[Block(False, 3, 288, 1, 1, 72)] * 3,
    Block(False, 3, 576, 1, 1, 72), *[Block(False, 3, 288, 1, 1, 72)] * 3,
    Block(False, 5, 576, 1, 1, 120), *[Block(False, 5, 480, 1, 2, 120)] * 3,
    Block(False, 3, 960, 1, 2, 144),
)  # fmt: skip
SKIPS = (8, 16)  # the blocks whose expanded maps, at strides 8 and 16, are the widest before each of the last two strides
WITHOUT_INPUT = (12,)  # blocks that do not add their input, although their output has its shape


class InvertedResidual(nn.Module):
    """Maps (N, channels, H, W) to (N, block.channels, ceil(H/stride), ceil(W/stride)).

    residual: whether to add the input to the output. No activation follows the projection.
    """

    def __init__(self, channels: int, block: Block, *, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        padding = block.dilation * (block.kernel // 2)
        if block.is_fused:
            self.expand = nn.Conv2d(channels, block.expansion, block.kernel, block.stride, padding)
            self.depthwise: nn.Conv2d | None = None
        else:
            self.expand = nn.Conv2d(channels, block.expansion, 1)
            self.depthwise = nn.Conv2d(
                block.expansion, block.expansion, block.kernel, block.stride, padding, block.dilation, block.expansion
            )
        self.project = nn.Conv2d(block.expansion, block.channels, 1)

    def after_expansion(self, maps: Tensor, expansion: Tensor) -> Tensor:
        """The block's output. maps: its input. expansion: the input after `expand` and ReLU."""
        if self.depthwise is not None:
            expansion = self.depthwise(expansion).relu()
        projection: Tensor = self.project(expansion)
        return maps + projection if self.residual else projection


class MobileNetEdgeTPUBackbone(Backbone):
    """MobileNet-EdgeTPU at output stride 16, up to its last 1x1 convolution, whose map the head reads.

    The skips are the expanded maps of blocks 8 and 16. Tensors are named as in the file that training starts from.
    """

    grid: Grid = "corner"
    channels = (BLOCKS[SKIPS[0]].expansion, BLOCKS[SKIPS[1]].expansion, LAST)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 3, 2, 1)
        self.stem_project = nn.Conv2d(STEM, STEM_PROJECTION, 1)
        blocks, channels = [], STEM_PROJECTION
        for index, block in enumerate(BLOCKS):
            residual = block.stride == 1 and block.channels == channels and index not in WITHOUT_INPUT
            blocks.append(InvertedResidual(channels, block, residual=residual))
            channels = block.channels
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Conv2d(channels, LAST, 1)

    def forward(self, images: Tensor) -> Features:
        maps = self.stem_project(self.stem(images).relu())
        skips = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, InvertedResidual)
            expansion = block.expand(maps).relu()
            if index in SKIPS:
                skips.append(expansion)
            maps = block.after_expansion(maps, expansion)
        return Features(skips[0], skips[1], self.last(maps).relu())
