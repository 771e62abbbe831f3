"""Convolutions as matrix products, whose sums do not depend on the number of threads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.heads import PooledHead
from model.upsampling import BilinearConvTranspose2d, EdgeRepeating

TERMS = 256  # the libraries share longer sums among threads, so that their last bits depend on how many there are
VECTOR = 8  # floats; outputs that fill no two, or no whole ones, get code of another kind, which shares even shorter sums
FULL = 32  # outputs; those of a product are filled up to a multiple


class MapProduct(nn.Module):
    """A 1x1 convolution of maps that lie channels last, as products of at most `TERMS` channels, to whole `FULL` outputs."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.channels = convolution.out_channels
        missing = -self.channels % FULL
        parts = F.pad(_weight(convolution), (0, 0, 0, missing)).chunk(-(-convolution.in_channels // TERMS), 1)
        self.widths = [part.shape[1] for part in parts]
        self.weights = nn.ParameterList(part.t().contiguous() for part in parts)
        self.bias = nn.Parameter(F.pad(_bias(convolution).detach(), (0, missing)))

    def forward(self, maps: Tensor) -> Tensor:
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
        first, *others = zip(torch.split(rows, self.widths, 1), self.weights, strict=True)
        sums = torch.addmm(self.bias, *first)
        for part, weight in others:
            sums = sums.addmm_(part, weight)
        return sums[:, : self.channels].contiguous().view(maps.shape[0], maps.shape[2], maps.shape[3], -1).permute(0, 3, 1, 2)


class CellProduct(nn.Module):
    """A 1x1 convolution of maps (N, channels, 1, 1): a single row's product would be shared like a long sum."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(_weight(convolution))
        self.bias = _bias(convolution)

    def forward(self, cells: Tensor) -> Tensor:
        sums = (self.weight * cells.flatten(1)[:, None]).sum(2) + self.bias
        return sums[..., None, None]


class UpsamplingProduct(EdgeRepeating):
    """A transposed convolution as a product, which gives each cell's patch of the result, and the sum of the patches."""

    def __init__(self, convolution: BilinearConvTranspose2d) -> None:
        super().__init__()
        channels, kernel = convolution.out_channels, convolution.kernel_size[0]
        patches = nn.Conv2d(channels, channels * kernel**2, 1, bias=False)
        with torch.no_grad():
            patches.weight.copy_(convolution.weight.permute(1, 2, 3, 0).reshape(patches.weight.shape))
        self.product = MapProduct(patches)
        self.grid, self.stride = convolution.grid, convolution.stride
        self.kernel, self.padding = kernel, int(convolution.padding[0])

    def forward(self, maps: Tensor) -> Tensor:
        sides = tuple((side - 1) * self.stride[0] + self.kernel - 2 * self.padding for side in maps.shape[2:])
        return F.fold(self.product(maps).flatten(2), sides, self.kernel, padding=self.padding, stride=self.stride)


def use_products(net: nn.Module) -> None:
    """Replaces, in place, what would depend on threads: 1x1 convolutions whose sums are long or whose outputs fill no
    vectors, those of pooled maps, and the upsampling of scores.

    For networks that run, not for training.
    """
    for parent in list(net.modules()):
        if isinstance(parent, PooledHead):
            parent.image_pooling = CellProduct(parent.image_pooling)  # type: ignore[assignment]
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and _pointwise(child) and _depends_on_threads(child):
                setattr(parent, name, MapProduct(child))
            elif isinstance(child, BilinearConvTranspose2d):
                setattr(parent, name, UpsamplingProduct(child))


def _pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.groups == 1 and layer.padding == (0, 0)


def _depends_on_threads(layer: nn.Conv2d) -> bool:
    return layer.in_channels > TERMS or layer.out_channels % VECTOR != 0 or layer.out_channels < 2 * VECTOR


def _weight(layer: nn.Conv2d) -> Tensor:
    return layer.weight.detach().flatten(1)


def _bias(layer: nn.Conv2d) -> nn.Parameter:
    bias = layer.bias if layer.bias is not None else layer.weight.new_zeros(layer.out_channels)
    return nn.Parameter(bias.detach())
