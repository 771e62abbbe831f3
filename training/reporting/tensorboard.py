"""Curves for TensorBoard, where its extra is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def require_tensorboard() -> None:
    """Raises `ValueError` where the extra is missing: better before a training than after its first epoch."""
    if find_spec("tensorboard") is None:
        raise ValueError("--tensorboard needs its extra: pip install 'fcn-segment[tensorboard]'")


def open_board(folder: Path, epoch: int) -> SummaryWriter:
    """A writer of event files, in which what a killed run wrote after `epoch` is hidden."""
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=epoch + 1)


def add_scalars(board: SummaryWriter, values: Mapping[str, float | None]) -> None:
    """Adds a row of the curves: `epoch` is the step, what is None is left out."""
    step = values["epoch"]
    assert step is not None
    for name, value in values.items():
        if name != "epoch" and value is not None:
            board.add_scalar(name, value, int(step))
    board.flush()
