"""What trainings on the generated shapes are made by, and what is looked at afterwards."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import torch

from model.networks.fcn import FCN
from training.learning.run import Run

Make = Callable[..., Run]


def state(net: FCN) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    assert set(first) == set(second)
    return [name for name in first if not torch.equal(first[name], second[name])]


class Stop(Exception):
    """Ends a training in its midst."""


def stop(net: FCN) -> dict[str, float | None]:
    raise Stop


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))
