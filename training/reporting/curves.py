"""The curves of a training: a row for each epoch as CSV and as lines of JSON, and a PNG plot of it.

TensorBoard gets them too, if its extra is installed.
"""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from model.command_line import install_command
from model.whole_file import whole_file, write_file
from training.reporting.plots import curves_chart, draw, read_curves

COLUMNS = ("epoch", "loss", "learning_rate", "waited", "mean_iou")
if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Curves:
    """Writes `curves.csv`, `metrics.jsonl` and `curves.png` in a folder; drops rows after `epoch`, which a killed run left.

    Scored epochs add columns after `COLUMNS`, such as `val_loss` and `iou/NAME` of each class. A line of `metrics.jsonl` is an
    object of an epoch's numbers without the empty ones; its schema is `docs/schemas/metrics.schema.json`. With `tensorboard`
    the same numbers go to event files in the folder `tensorboard`.
    """

    def __init__(self, folder: Path, epoch: int, *, tensorboard: bool = False) -> None:
        self.folder = folder
        self._board = open_board(folder / "tensorboard", epoch) if tensorboard else None
        self.rows = [row for row in read_curves(folder / "curves.csv") if int(row["epoch"]) <= epoch]
        self._write()

    def add(self, **values: float | None) -> None:
        """Adds a row; the cell of a value that is None stays empty."""
        self.rows.append({name: "" if value is None else f"{value:.6g}" for name, value in values.items()})
        self._write()
        if self._board:
            add_scalars(self._board, values)

    def plot(self) -> None:
        """Draws loss and val mean IoU over epochs; if that fails, stderr says why."""
        draw(self.folder / "curves.png", lambda: curves_chart(self.rows))

    def _write(self) -> None:
        columns = list(dict.fromkeys([*COLUMNS, *(name for row in self.rows for name in row)]))
        with whole_file(self.folder / "curves.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        lines = "".join(json.dumps(_numbers(row), ensure_ascii=False) + "\n" for row in self.rows)
        write_file(self.folder / "metrics.jsonl", lines)


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    """A row's finite numbers by name, without empty cells; the epoch is an integer."""
    numbers = {name: float(text) for name, text in row.items() if text}
    return {name: int(value) if name == "epoch" else value for name, value in numbers.items() if isfinite(value)}


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
