"""A recipe that trains in a few seconds, and what a run leaves behind."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import torch

from model.networks.fcn import FCN
from training.learning.run import Run

Make = Callable[..., Run]
TINY_RECIPE = """
variant = "fcn8s"
backbone = "mobilenet_v2"
output_stride = 16
head = "pooled"
head_width = 16
width = 0.1
epochs = 4
batch = 4
crop = [64, 64]
scales = [0.8, 1.25]
learning_rate = 3e-3
head_factor = 1.0
warmup = 2
ema = 0.9
autocast = "none"
side = [96, 96]
"""


def state(net: FCN) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    assert set(first) == set(second)
    return [name for name in first if not torch.equal(first[name], second[name])]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))
