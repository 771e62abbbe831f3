"""Convolutions that apply the activation after them to each result before it is stored: memory is passed over once less."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

# PyTorch's own compiler runs convolutions by this operation of oneDNN; a graph takes its list of optional numbers, which
# tracing has no words for, from here alone
SOURCE = """
def clamped(
    maps: Tensor, weight: Tensor, bias: Optional[Tensor], padding: List[int], stride: List[int], dilation: List[int],
    groups: int, lowest: float, highest: float,
) -> Tensor:
    limits = torch.jit.annotate(List[Optional[number]], [lowest, highest])
    return torch.ops.mkldnn._convolution_pointwise(
        maps, weight, bias, padding, stride, dilation, groups, "hardtanh", limits, ""
    )
"""
Clamped = Callable[..., Tensor]


class ActivatedConvolution(nn.Module):
    """A convolution on a CPU, whose results are clamped to `limits`. Maps (N, channels, height, width) to such maps."""

    def __init__(self, convolution: nn.Conv2d, limits: tuple[float, float], clamped: Clamped) -> None:
        super().__init__()
        self.clamped = clamped
        self.weight, self.bias = convolution.weight, convolution.bias
        sides = (convolution.padding, convolution.stride, convolution.dilation)
        self.sides = tuple([int(side) for side in pair] for pair in sides)
        self.groups, self.limits = convolution.groups, limits

    def forward(self, maps: Tensor) -> Tensor:
        return self.clamped(maps, self.weight, self.bias, *self.sides, self.groups, *self.limits)


def activate_convolutions(net: nn.Module, dtype: torch.dtype) -> None:
    """Replaces, in place, each convolution that a ReLU or a ReLU6 follows in an `nn.Sequential` by both in one.

    For networks that run on a CPU in this precision, not for training. Does nothing where the operation is missing.
    """
    clamped = clamped_convolution(dtype)
    if clamped is None:
        return
    for parent in [module for module in net.modules() if isinstance(module, nn.Sequential)]:
        layers = [(name, child) for name, child in parent.named_children() if not isinstance(child, nn.Identity)]
        for (name, layer), (after, activation) in pairwise(layers):
            limits = _limits(activation)
            if limits and isinstance(layer, nn.Conv2d) and _padded_with_zeros(layer):
                setattr(parent, name, ActivatedConvolution(layer, limits, clamped))
                setattr(parent, after, nn.Identity())


@cache
def clamped_convolution(dtype: torch.dtype) -> Clamped | None:
    """The operation for graphs, or None where PyTorch or the processor lacks it for this precision: that is tried."""
    try:
        function: Clamped = torch.jit.CompilationUnit(SOURCE).clamped
        maps = torch.ones(1, 1, 2, 2, dtype=dtype)
        function(maps, maps[:, :, :1, :1], None, [0, 0], [1, 1], [1, 1], 1, 0.0, math.inf)
    except RuntimeError:
        return None
    return function


def _limits(activation: nn.Module) -> tuple[float, float] | None:
    if isinstance(activation, nn.ReLU):
        return 0.0, math.inf
    if isinstance(activation, nn.Hardtanh):
        return float(activation.min_val), float(activation.max_val)
    return None


def _padded_with_zeros(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
