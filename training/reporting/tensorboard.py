"""Writes curves for TensorBoard, if its extra is installed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from model.command_line import install_command

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def require_tensorboard() -> None:
    """Raises `ValueError` if the extra is missing; the trainer calls it before a training, not after the first epoch."""
    if find_spec("tensorboard") is None:
        raise ValueError(f"--tensorboard needs its extra: {install_command('tensorboard')}")


def open_board(folder: Path, epoch: int) -> SummaryWriter:
    """Opens a writer of event files; TensorBoard then hides what a killed run wrote after `epoch`.

    It writes on a thread of its own. An `OSError` there is raised by the next `add_scalars`, so the thread prints none.
    """
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    threading.excepthook = _print_others
    return SummaryWriter(str(folder), purge_step=epoch + 1)


def _print_others(error: threading.ExceptHookArgs) -> None:
    if not isinstance(error.exc_value, OSError):
        threading.__excepthook__(error)


def add_scalars(board: SummaryWriter, values: Mapping[str, float | None]) -> None:
    """Adds a row of the curves with `epoch` as the step; values that are None are left out."""
    step = values["epoch"]
    assert step is not None
    for name, value in values.items():
        if name != "epoch" and value is not None:
            board.add_scalar(name, value, int(step))
    board.flush()
