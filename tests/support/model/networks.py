"""Networks and functions to which others are compared: means of pixels, torchvision's VGG16."""

from __future__ import annotations

from typing import TypeVar

import torch
import torchvision
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Dropout, nn.Dropout2d)


def averaging(net: Net) -> Net:
    """The network with the same geometry, but every convolution and pooling a mean, and nothing else in between.

    The pixel on which one of its outputs is centred can be read off a gradient. Biases are 1, so that a ReLU passes everything.
    """
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ACTIVATIONS):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
            elif isinstance(child, nn.Conv2d):
                nn.init.constant_(child.weight, 1 / child.weight[0].numel())
                if child.bias is not None:
                    nn.init.ones_(child.bias)
    return net.double().eval()


def strip(length: int, axis: int) -> Tensor:
    """A black image one pixel wide, this long along axis 2 (rows) or 3 (columns)."""
    shape = [1, 3, 1, 1]
    shape[axis] = length
    return torch.zeros(shape, dtype=torch.float64, requires_grad=True)


def centre(output: Tensor, image: Tensor, axis: int) -> float:
    """The mean position of the pixels that this one output averages, weighted as it weighs them."""
    (gradient,) = torch.autograd.grad(output, image, retain_graph=True)
    weights = gradient.sum([i for i in range(4) if i != axis])
    return float((weights * torch.arange(len(weights))).sum() / weights.sum())


def vgg16_layout() -> dict[str, Tensor]:
    """Names and shapes of torchvision's VGG16, without its 138 million numbers."""
    with torch.device("meta"):
        state: dict[str, Tensor] = torchvision.models.vgg16(weights=None).state_dict()
    return state
