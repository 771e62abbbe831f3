"""Small networks in PyTorch that look at a whole image: a U-Net with instance normalisation, and patches of 14 pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn


class UNet(nn.Module):
    """Three levels with instance normalisation, as MONAI's; enlarges to the sides of what it adds, so that it takes any."""

    def __init__(self, classes: int = 3, width: int = 8) -> None:
        super().__init__()
        self.first, self.second, self.third = _block(3, width), _block(width, width), _block(width, width)
        self.last = nn.Conv2d(3 * width, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        levels = [self.first(image)]
        for block in (self.second, self.third):
            levels.append(block(nn.functional.max_pool2d(levels[-1], 2)))
        size = image.shape[2:]
        levels = [nn.functional.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in levels]
        scores: torch.Tensor = self.last(torch.cat(levels, 1))
        return scores


class Patches(nn.Module):
    """Patches of 14 pixels, which all look at one another, and scores of their classes."""

    def __init__(self, classes: int = 3, width: int = 16) -> None:
        super().__init__()
        self.embed, self.keys, self.scores = nn.Conv2d(3, width, 14, 14), nn.Linear(width, width), nn.Linear(width, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        cells = self.embed(image)
        tokens = cells.flatten(2).transpose(1, 2)
        tokens = tokens + 4 * torch.softmax(4 * self.keys(tokens) @ tokens.transpose(1, 2), -1) @ tokens
        scores: torch.Tensor = self.scores(tokens).transpose(1, 2)
        return scores.reshape(1, -1, cells.shape[2], cells.shape[3])


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), nn.LeakyReLU())


def exported(path: Path, network: nn.Module) -> Path:
    """Writes the network, with the weights of the seed 0, to an ONNX file of any sides."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    sides = {"image": {2: "height", 3: "width"}, "logits": {2: "rows", 3: "columns"}}
    with warnings.catch_warnings(action="ignore"):  # of an exporter that is no longer the default, and of sides that it traces
        torch.onnx.export(
            network.eval(), (torch.rand(1, 3, 112, 224),), str(path), dynamo=False, opset_version=17,
            input_names=["image"], output_names=["logits"], dynamic_axes=sides,
        )  # fmt: skip
    return path
