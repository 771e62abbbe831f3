"""Bilinear upsampling of maps of scores, for both grids of a backbone.

In a network of stride-2 convolutions with padding 1, cell i of a stride-s map is centred on pixel s*i (grid `corner`). In a
network of 2x2 poolings, cell i is centred on pixel s*i + (s-1)/2 (grid `half_pixel`). Kernels follow Long et al. 2015, section
3.3: their size is 2s-1 for `corner` and 2s for `half_pixel`. The map's edge is repeated by one cell, so that values do not fade
at the border.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.architecture import Grid


def bilinear_kernel(stride: int, grid: Grid) -> Tensor:
    """The kernel, float32 (k, k), with which a transposed convolution of this stride interpolates bilinearly."""
    size = 2 * stride - 1 if grid == "corner" else 2 * stride
    centre = (size - 1) / 2
    line = 1 - (torch.arange(size, dtype=torch.float32) - centre).abs() / stride
    return line[:, None] * line[None, :]


def set_bilinear(layer: nn.ConvTranspose2d, grid: Grid) -> None:
    """Sets a dense transposed convolution, whose kernel has the size for this grid, to bilinear upsampling of each class."""
    with torch.no_grad():
        layer.weight.zero_()
        classes = range(layer.in_channels)
        layer.weight[classes, classes] = bilinear_kernel(layer.stride[0], grid)


class BilinearConvTranspose2d(nn.ConvTranspose2d):
    """A learnable transposed convolution (classes to classes) that starts as bilinear upsampling."""

    def __init__(self, channels: int, stride: int, grid: Grid) -> None:
        size, padding = (2 * stride - 1, stride - 1) if grid == "corner" else (2 * stride, stride // 2)
        super().__init__(channels, channels, size, stride=stride, padding=padding, bias=False)
        self.grid = grid
        set_bilinear(self, grid)

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Upsamples scores (N, C, h, w) to (N, C, height, width).

        size: (height, width), at most (stride*h, stride*w); the maps are cut at the bottom and right.
        """
        cells_before = 0 if self.grid == "corner" else 1
        scores = F.pad(scores, (cells_before, 1, cells_before, 1), mode="replicate")
        start = cells_before * self.stride[0]
        maps: Tensor = self.forward(scores)
        return maps[..., start : start + size[0], start : start + size[1]]


class FixedUpsample(nn.Module):
    """The paper's fixed final upsampling, equal to a transposed convolution with frozen bilinear kernels.

    An interpolation computes it in a fraction of the time of the transposed convolution. The result is float32: in bfloat16,
    nearly equal scores would become equal, and the lower id would win.
    """

    def __init__(self, stride: int, grid: Grid) -> None:
        super().__init__()
        self.stride = stride
        self.grid: Grid = grid

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Upsamples scores (N, C, h, w) to float32 (N, C, height, width). size: as for `BilinearConvTranspose2d.upsample`."""
        scores = scores.float()
        height, width = (self.stride * side for side in scores.shape[-2:])
        if self.grid == "half_pixel":
            full = F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
        else:
            scores = F.pad(scores, (0, 1, 0, 1), mode="replicate")
            full = F.interpolate(scores, size=(height + 1, width + 1), mode="bilinear", align_corners=True)
        return full[..., : size[0], : size[1]]
