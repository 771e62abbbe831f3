"""Encoders of timm (PyTorch Image Models, Wightman 2019) as backbones. They need the extra `timm`; nothing is downloaded."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from math import ceil
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.command_line import install_command
from common.printable import first_line
from model.architecture import TIMM, ArchitectureError, Grid, first_centre
from model.networks.backbones import Backbone, Features

COARSEST = 32  # pixels per cell of the last stage at output stride 32
LENGTH = 1024  # pixels of the strip on which a grid is measured: more than a cell of most encoders sees
TOLERANCE = 0.3  # the largest distance of a cell from its grid, in cells


class TimmBackbone(Backbone):
    """An encoder of timm with its maps of strides 8, 16 and 32, or with a dilated last stage of stride 16.

    name: timm's name of the encoder, such as `convnext_tiny`. Images are extended to multiples of 32 by repeating the edge, so
    encoders that cut rows away accept every size.

    Raises `ArchitectureError` without timm, and for an encoder that timm lacks, that has no maps of these strides for images of
    any size, or whose cells lie on neither grid.
    """

    def __init__(self, name: str, output_stride: int) -> None:
        super().__init__()
        self.encoder = _encoder(name, output_stride)
        self.stages = _stages(name, self.encoder, output_stride)
        self.output_stride = output_stride
        every_channel: list[int] = self.encoder.feature_info.channels()
        stride8, stride16, last = (every_channel[stage] for stage in self.stages)
        self.channels = (stride8, stride16, last)
        self.grid = measured_grid(name, output_stride)

    def forward(self, images: Tensor) -> Features:
        height, width = images.shape[-2:]
        is_whole = height % COARSEST == 0 and width % COARSEST == 0  # exports have no other sizes, and so no padding
        if not is_whole:
            images = F.pad(images, (0, -width % COARSEST, 0, -height % COARSEST), mode="replicate")
        every_map = self.encoder(images)
        maps = [every_map[stage] for stage in self.stages]
        if not is_whole:
            strides = (8, 16, self.output_stride)
            maps = [each[..., : ceil(height / s), : ceil(width / s)] for each, s in zip(maps, strides, strict=True)]
        return Features(*maps)


def encoder_normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of the pixels, 0 to 1, with which timm's default weights of this encoder were trained."""
    config = _timm(name).get_pretrained_cfg(name)
    if config is None:
        raise ArchitectureError(_unknown(name))
    (red, green, blue), deviations = config.mean, config.std
    return (red, green, blue), (deviations[0], deviations[1], deviations[2])


@cache
def measured_grid(name: str, output_stride: int) -> Grid:
    """The grid of an encoder's cells, by the pixels that one cell of each map averages.

    For this every kernel is an average, and every maximum pooling a mean. Paths with different centres, such as the shortcuts
    of ResNet-D, average out; the grid is the nearest one. Raises `ArchitectureError` if a cell lies further than `TOLERANCE`
    from the grid.
    """
    with torch.device("cpu"):  # a caller's `meta` has no values
        return _measure_grid(name, output_stride)


def _measure_grid(name: str, output_stride: int) -> Grid:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = _averaging(_encoder(name, output_stride))
    stages = _stages(name, encoder, output_stride)
    image = torch.full((1, 3, LENGTH, COARSEST), 1e-3, dtype=torch.float64, requires_grad=True)
    try:
        every_map = encoder(image)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = first_line(error)
        raise ArchitectureError(f"{TIMM}{name} does not accept images of any size: {reason}; use another encoder") from error
    offsets = []
    channels: list[int] = encoder.feature_info.channels()
    strides = (8, 16, output_stride)
    for stage, stride in zip(stages, strides, strict=True):
        maps, shape = every_map[stage], (1, channels[stage], LENGTH // stride, COARSEST // stride)
        if maps.shape != shape:
            raise ArchitectureError(f"{TIMM}{name} gives a map of shape {tuple(maps.shape)}, expected {shape}; use another one")
        cell = LENGTH // 2 // stride
        offsets.append(_centre(maps[0, :, cell].sum(), image) - stride * cell)
    grids: tuple[Grid, ...] = ("corner", "half_pixel")
    distances = {
        grid: max(abs(offset - first_centre(stride, grid)) / stride for offset, stride in zip(offsets, strides, strict=True))
        for grid in grids
    }
    nearest = min(distances, key=lambda grid: distances[grid])
    if not distances[nearest] <= TOLERANCE:
        centres = ", ".join(f"{offset:.1f} of {stride}" for offset, stride in zip(offsets, strides, strict=True))
        raise ArchitectureError(
            f"cells of {TIMM}{name} lie {centres} pixels after their first pixel, on neither grid (0, or half a cell); "
            "use another encoder or output stride" + (f", such as {name.removeprefix('tf_')}" if name.startswith("tf_") else "")
        )
    return nearest


def _timm(name: str) -> Any:
    """The package; raises `ArchitectureError` naming the backbone without it."""
    if find_spec("timm") is None:
        raise ArchitectureError(f"the backbone {TIMM}{name} needs timm: {install_command('timm')}")
    return import_module("timm")


def _unknown(name: str) -> str:
    return f"timm has no encoder {name!r}; timm.list_models() lists them"


def _encoder(name: str, output_stride: int) -> Any:
    """timm's encoder, untrained, whose call gives a list of maps."""
    timm = _timm(name)
    if not timm.is_model(name):
        raise ArchitectureError(_unknown(name))
    options: dict[str, Any] = {} if output_stride == COARSEST else {"output_stride": output_stride}
    try:
        return timm.create_model(name, pretrained=False, features_only=True, **options)
    except (RuntimeError, AssertionError, TypeError, ValueError, NotImplementedError, AttributeError) as error:
        problem = f"timm gives no maps of {name} at output stride {output_stride}"
        raise ArchitectureError(f"{problem}: {first_line(error)}") from error


def _stages(name: str, encoder: Any, output_stride: int) -> tuple[int, int, int]:
    """The indices of the maps of stride 8, of stride 16 and of the last stage."""
    strides: list[int] = encoder.feature_info.reduction()
    of_16 = [index for index, stride in enumerate(strides) if stride == 16]
    of_last = of_16[1:] if output_stride == 16 else [index for index, stride in enumerate(strides) if stride == COARSEST]
    if 8 not in strides or not of_16 or not of_last:
        raise ArchitectureError(
            f"{TIMM}{name} has maps of strides {', '.join(map(str, strides))}; needed are 8, 16 and {output_stride}, "
            "with a last stage of its own"
        )
    return strides.index(8), of_16[0], of_last[-1]


def _averaging(encoder: Any) -> Any:
    """The encoder in float64 and evaluation mode, whose kernels are spatially even and positive, without biases.

    Norms that are computed from the image go: they move no pixel, but their gradients nearly cancel, so rounding would count.
    """
    from timm.layers.grn import GlobalResponseNorm

    for parent in list(encoder.modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, (nn.LayerNorm, nn.GroupNorm, GlobalResponseNorm)):
                setattr(parent, child_name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, child_name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
        for parameter_name, parameter in parent.named_parameters(recurse=False):
            with torch.no_grad():
                if parameter.ndim == 4:
                    even = parameter.abs().mean((2, 3), keepdim=True).expand_as(parameter)
                    parameter.copy_(even / even.sum((1, 2, 3), keepdim=True))
                elif parameter_name.endswith("bias"):
                    parameter.zero_()
                elif parameter.ndim == 1:
                    parameter.fill_(1.0)
    return encoder.double().eval()


def _centre(output: Tensor, image: Tensor) -> float:
    """The mean row of the pixels on which an output depends, without what it takes evenly from the whole image."""
    (gradient,) = torch.autograd.grad(output, image, retain_graph=True)
    weights = gradient.abs().sum((0, 1, 3))
    weights = (weights - weights.median()).clamp(min=0)
    return float((weights * torch.arange(len(weights))).sum() / weights.sum())


def flat_name(name: str) -> str:
    """A tensor's name with which timm's classifier and its encoder agree; the encoder joins some levels with `_`."""
    return name.removeprefix("model.").replace(".", "_")
