"""Bilinear upsampling that agrees with the grid of the backbone below it.

A stride-2 convolution with padding 1 centres cell i of a stride-s map on pixel s*i (grid `corner`); a 2x2
pooling centres it on s*i + (s-1)/2 (grid `half_pixel`). Kernels after Long et al. 2015, section 3.3: size 2s-1
in the first case, 2s in the second. The map's edge is repeated by a cell, so that nothing fades at the border.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.architecture import Grid


def bilinear_kernel(stride: int, grid: Grid) -> Tensor:
    """The (k, k) float32 kernel with which a transposed convolution of this stride interpolates bilinearly."""
    size = 2 * stride - 1 if grid == "corner" else 2 * stride
    centre = (size - 1) / 2
    line = 1 - (torch.arange(size, dtype=torch.float32) - centre).abs() / stride
    return line[:, None] * line[None, :]


class EdgeRepeating(nn.Module):
    """Upsampling by a transposed convolution, which is its `forward`, of maps whose edge is repeated by a cell."""

    grid: Grid
    stride: tuple[int, ...]

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (N, C, h, w) to (N, C, height, width) for any size up to (stride*h, stride*w), cut at the far edges."""
        before = 0 if self.grid == "corner" else 1
        padded = F.pad(scores, (before, 1, before, 1), mode="replicate")
        start = before * self.stride[0]
        upsampled: Tensor = self.forward(padded)
        return upsampled[..., start : start + size[0], start : start + size[1]]


class BilinearConvTranspose2d(EdgeRepeating, nn.ConvTranspose2d):
    """A learnable transposed convolution (classes to classes) that starts as bilinear upsampling."""

    def __init__(self, channels: int, stride: int, grid: Grid) -> None:
        kernel = bilinear_kernel(stride, grid)
        padding = stride - 1 if grid == "corner" else stride // 2
        nn.ConvTranspose2d.__init__(self, channels, channels, kernel.shape[0], stride=stride, padding=padding, bias=False)
        self.grid = grid
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(channels), range(channels)] = kernel


class FixedUpsample(nn.Module):
    """The paper's fixed final upsampling: what a transposed convolution with frozen bilinear kernels computes.

    Maps (N, C, h, w) to float32 (N, C, height, width), cut at the far edges. Written as an interpolation, which
    costs a fraction of the transposed convolution; float32, since bfloat16 would turn near ties into the lower id.
    """

    def __init__(self, stride: int, grid: Grid) -> None:
        super().__init__()
        self.stride = stride
        self.grid: Grid = grid

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        scores = scores.float()
        height, width = (self.stride * side for side in scores.shape[-2:])
        if self.grid == "half_pixel":
            full = F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
        else:
            padded = F.pad(scores, (0, 1, 0, 1), mode="replicate")
            full = F.interpolate(padded, size=(height + 1, width + 1), mode="bilinear", align_corners=True)
        return full[..., : size[0], : size[1]]
