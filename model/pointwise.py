"""1x1 convolutions as products whose sums do not depend on the number of threads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.heads import PooledHead

TERMS = 256  # the libraries share longer sums among threads, so that their last bits depend on how many there are


class MapProduct(nn.Module):
    """A 1x1 convolution of maps that lie channels last, as matrix products of at most `TERMS` channels."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        parts = _weight(convolution).chunk(-(-convolution.in_channels // TERMS), 1)
        self.widths = [part.shape[1] for part in parts]
        self.weights = nn.ParameterList(part.t().contiguous() for part in parts)
        self.bias = _bias(convolution)

    def forward(self, maps: Tensor) -> Tensor:
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
        first, *others = zip(torch.split(rows, self.widths, 1), self.weights, strict=True)
        sums = torch.addmm(self.bias, *first)
        for part, weight in others:
            sums = sums.addmm_(part, weight)
        return sums.view(maps.shape[0], maps.shape[2], maps.shape[3], -1).permute(0, 3, 1, 2)


class CellProduct(nn.Module):
    """A 1x1 convolution of maps (N, channels, 1, 1): a single row's product would be shared like a long sum."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(_weight(convolution))
        self.bias = _bias(convolution)

    def forward(self, cells: Tensor) -> Tensor:
        sums = (self.weight * cells.flatten(1)[:, None]).sum(2) + self.bias
        return sums[..., None, None]


def use_products(net: nn.Module) -> None:
    """Replaces, in place, the 1x1 convolutions that sum over more than `TERMS` channels, and those of pooled maps.

    For networks that run, not for training.
    """
    for parent in list(net.modules()):
        if isinstance(parent, PooledHead):
            parent.image_pooling = CellProduct(parent.image_pooling)  # type: ignore[assignment]
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and _pointwise(child) and child.in_channels > TERMS:
                setattr(parent, name, MapProduct(child))


def _pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.groups == 1 and layer.padding == (0, 0)


def _weight(layer: nn.Conv2d) -> Tensor:
    return layer.weight.detach().flatten(1)


def _bias(layer: nn.Conv2d) -> nn.Parameter:
    bias = layer.bias if layer.bias is not None else layer.weight.new_zeros(layer.out_channels)
    return nn.Parameter(bias.detach())
