"""Networks whose images have more bands than photos: their first convolution, and how it begins from one of photos."""

from __future__ import annotations

from math import ceil

from torch import Tensor, nn

from model.preprocessing import RGB


def first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    """The name and the module of the first convolution, which reads the images."""
    return next((name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d))


def see_bands(backbone: nn.Module, bands: int) -> None:
    """Changes the first convolution of a backbone so that it reads images of so many bands."""
    _, layer = first_convolution(backbone)
    if layer.in_channels != bands:
        layer.weight = nn.Parameter(widen(layer.weight.detach(), bands))
        layer.in_channels = bands


def widen(weight: Tensor, bands: int) -> Tensor:
    """The weights (outputs, 3, h, w) of a convolution of photos for so many bands, as timm widens them.

    The bands get the weights of red, green and blue in turn, scaled by 3 / bands, so the sum over all bands keeps its size.
    """
    channels = weight.shape[1]
    return weight.repeat(1, ceil(bands / channels), 1, 1)[:, :bands] * (len(RGB) / bands)
