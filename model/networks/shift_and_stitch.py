"""Shift-and-stitch: runs a coarse network on shifted copies of an image, to get finer scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.aligned import AlignedFCN
from model.networks.fcn import FCN
from model.networks.upsampling import FixedUpsample


class ShiftAndStitch(nn.Module):
    """Interlaces a network's scores from shifts^2 runs to `shifts` times their resolution, and upsamples them bilinearly.

    After Long, Shelhamer & Darrell 2015, section 3.2. For an FCN-32s the result equals that of the same filters applied
    densely (à trous: strides removed, filters dilated), except for the padding at the image's border. It costs shifts^2 times
    as much as one run. Raises `ValueError` for a decoder other than `aligned`, for shifts that do not divide the scores'
    stride, and for shifts equal to the stride on a half-pixel grid.
    """

    def __init__(self, net: FCN, shifts: int) -> None:
        super().__init__()
        if not isinstance(net, AlignedFCN):
            raise ValueError(f"shift-and-stitch needs the decoder aligned, got {net.architecture.decoder}")
        stride = net.score_stride
        if shifts < 1 or stride % shifts:
            raise ValueError(f"shifts must divide the scores' stride of {stride}, got {shifts}")
        if shifts == stride and net.backbone.grid == "half_pixel":
            raise ValueError(f"cells of this backbone lie between pixels: shifts must be below {stride}, got {shifts}")
        self.net, self.shifts, self.step = net, shifts, stride // shifts
        # on a half-pixel grid the first fine cell lies before the first coarse cell
        self.first = 0 if net.backbone.grid == "corner" else -(stride - self.step) // 2
        self.score_stride, self.grid = self.step, net.grid
        self.upscore_final = FixedUpsample(self.step, net.grid)

    def scores(self, images: Tensor) -> Tensor:
        """Scores (N, classes, shifts * ceil(H/stride), shifts * ceil(W/stride)) of normalised images (N, 3, H, W)."""
        offsets = [self.first + index * self.step for index in range(self.shifts)]
        rows = [torch.stack([self.net.scores(_shifted(images, dy, dx)) for dx in offsets], -1) for dy in offsets]
        grid = torch.stack(rows, 3)
        count, classes, height, _, width, _ = grid.shape
        return grid.reshape(count, classes, height * self.shifts, width * self.shifts)

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, classes, H, W) of normalised images (N, 3, H, W)."""
        height, width = images.shape[-2:]
        return self.upscore_final.upsample(self.scores(images), (height, width))


def _shifted(images: Tensor, dy: int, dx: int) -> Tensor:
    """The images from pixel (dy, dx) on, at the same size. Outside the images their edges are repeated."""
    height, width = images.shape[-2:]
    images = F.pad(images, (max(0, -dx), max(0, dx), max(0, -dy), max(0, dy)), mode="replicate")
    top, left = max(0, dy), max(0, dx)
    return images[..., top : top + height, left : left + width]
