"""The curves of a training as CSV, as lines of JSON and for TensorBoard; charts of them, and of scores by class."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.command_line import install_command
from common.printable import first_line
from common.whole_file import whole_file, write_file
from model.weights_file import Weights

COLUMNS = ("epoch", "loss", "learning_rate", "waited", "mean_iou")
MOST = 3  # measurements that a chart of scores shows
BLUE, GREEN, GREY = "#4269d0", "#3ca951", "#b8bec5"
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


class Curves:
    """Writes `curves.csv`, `metrics.jsonl` and `curves.png` in a folder; drops rows after `epoch`, which a killed run left.

    Scored epochs add columns after `COLUMNS`, such as `val_loss` and `iou/NAME` of each class. A line of `metrics.jsonl` is an
    object of an epoch's numbers without the empty ones; its schema is `docs/schemas/metrics.schema.json`. With `tensorboard`
    the same numbers go to event files in the folder `tensorboard`.
    """

    _board: SummaryWriter | None = None

    def __init__(self, folder: Path, epoch: int, *, tensorboard: bool = False) -> None:
        self.folder = folder
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            # TensorBoard then hides what a killed run wrote after `epoch`
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=epoch + 1)
        self.rows = [row for row in read_curves(folder / "curves.csv") if int(row["epoch"]) <= epoch]
        self._write()

    def add(self, **values: float | None) -> None:
        """Adds a row; the cell of a value that is None stays empty."""
        self.rows.append({name: "" if value is None else f"{value:.6g}" for name, value in values.items()})
        self._write()
        if self._board:
            numbers = _numbers(self.rows[-1])
            step = int(numbers.pop("epoch"))
            for name, number in numbers.items():
                self._board.add_scalar(name, number, step)
            self._board.flush()

    def plot(self) -> None:
        """Draws loss and val mean IoU over epochs; if that fails, stderr says why."""
        draw(self.folder / "curves.png", lambda: png(curves_figure(self.rows)))

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


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a training's CSV; empty if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def require_matplotlib() -> None:
    """Raises `ValueError` if matplotlib is missing; commands call it before a training, not after it."""
    if find_spec("matplotlib") is None:
        raise ValueError(f"charts need matplotlib: {install_command('train')}")


def draw(path: Path, chart: Callable[[], bytes]) -> None:
    """Writes a chart's PNG; if that fails, prints the reason in one line on stderr and returns."""
    try:
        write_file(path, chart(), follow=False)
    except Exception as error:  # fonts, backends and names can raise any error in matplotlib, and must not end a training
        print(f"{path} is not drawn: {first_line(error)}", file=sys.stderr)


def curves_figure(rows: Sequence[Mapping[str, str]]) -> Figure:
    """The loss and the val mean IoU, over the same whole epochs."""
    figure = _figure(7, 3.2)
    _curves(rows, *figure.subplots(1, 2))
    return figure


def score_chart(weights: Weights, curves: Path) -> bytes:
    """A PNG of the IoU of each class, and of the training's curves if there are any.

    Up to three measurements of the same classes, the first in the file, are drawn side by side.
    """
    rows = read_curves(curves)
    first: Mapping[str, Any] = next(iter(weights.manifest.scores.values()), {"classes": []})
    comparable = [(n, v) for n, v in weights.manifest.scores.items() if v["classes"] == first["classes"]]
    scores = dict(comparable[:MOST])
    figure = _figure(9, max(3.5, 0.34 * len(first["classes"]) + 1.2))
    if rows:
        grid = figure.add_gridspec(2, 2, width_ratios=[1.6, 1])
        _bars(scores, first["classes"], figure.add_subplot(grid[:, 0]))
        _curves(rows, figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1]))
    else:
        _bars(scores, first["classes"], figure.subplots())
    return png(figure)


def _figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, with an Agg canvas of its own.

    MPLBACKEND is removed from the environment while matplotlib is imported: notebooks set it for their child processes, and
    the import fails for a backend that is not installed.
    """
    require_matplotlib()
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bars(scores: Mapping[str, Any], classes: Sequence[str], axes: Axes) -> None:
    height = 0.8 / max(1, len(scores))
    for index, (name, values) in enumerate(scores.items()):
        ticks = [tick + index * height for tick in range(len(classes))]
        color = GREEN if index == 0 else (BLUE if index == 1 else GREY)
        axes.barh(ticks, [iou or 0 for iou in values["iou"]], height, label=_literal(name), color=color)
    axes.set_yticks([tick + 0.4 - height / 2 for tick in range(len(classes))], [_literal(name) for name in classes])
    axes.invert_yaxis()
    axes.set(xlabel="IoU", xlim=(0, 1))
    if len(scores) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), fontsize="small", frameon=False)
    _style(axes)


def _literal(name: str) -> str:
    """Escapes a name so that matplotlib shows it literally: no formula between dollars, and no text outside UTF-8."""
    return name.replace("$", r"\$").encode("utf-8", "backslashreplace").decode()


def _curves(rows: Sequence[Mapping[str, str]], left: Axes, right: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [int(row["epoch"]) for row in rows]
    marker = "o" if len(epochs) == 1 else ""  # a lone point has no line
    left.plot(epochs, [float(row["loss"]) for row in rows], marker=marker, markersize=3, color=BLUE)
    title = "training loss"
    if any(row.get("val_loss") for row in rows):
        _plot_scored(rows, "val_loss", left, GREY)
        title += "; grey: val cross-entropy"
    _plot_scored(rows, "mean_iou", right, GREEN)
    for axes, text in ((left, title), (right, "val mean IoU")):  # above the curves: a label beside them would not fit
        axes.set_title(text, loc="left", fontsize="small")
        axes.set(xlabel="epoch", xlim=(min(epochs, default=0) - 0.5, max(epochs, default=1) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    _style(left)
    _style(right)


def _plot_scored(rows: Sequence[Mapping[str, str]], name: str, axes: Axes, color: str) -> None:
    """Plots a column over the epochs that have a value in it."""
    points = [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
    axes.plot([epoch for epoch, _ in points], [value for _, value in points], "o-", markersize=3, color=color)


def _style(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter that the font lacks is drawn as a box
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
