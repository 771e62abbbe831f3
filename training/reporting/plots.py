"""Charts: the curves of a training, and the scores of a weights file by class."""

from __future__ import annotations

import csv
import io
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.weights_file import Weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 3
BLUE, GREEN, GREY = "#4269d0", "#3ca951", "#b8bec5"


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a training's CSV; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def require_matplotlib() -> None:
    """Raises `ValueError` where charts cannot be drawn: better before a training than after it."""
    if find_spec("matplotlib") is None:
        raise ValueError("charts need matplotlib; install the extra: pip install 'fcn-segment[train]'")


def draw(path: Path, chart: Callable[[], bytes]) -> None:
    """Writes a chart's PNG; where it cannot be drawn or written, one line says why, and the work goes on without it."""
    try:
        path.write_bytes(chart())
    except Exception as error:  # whatever a font, a backend or a name does to matplotlib: no chart is worth a training
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"{path} is not drawn: {reason}", file=sys.stderr)


def curves_chart(rows: Sequence[Mapping[str, str]]) -> bytes:
    """PNG of the loss and of the val mean IoU over epochs."""
    figure = _figure(7, 3.2)
    _curves(rows, *figure.subplots(1, 2))
    return _png(figure)


def score_chart(weights: Weights, curves: Path) -> bytes:
    """PNG of the IoU of each class, the first three measurements of the same classes side by side, and of the curves."""
    rows = read_curves(curves)
    first: Mapping[str, Any] = next(iter(weights.manifest.scores.values()), {"classes": []})
    same = [(n, v) for n, v in weights.manifest.scores.items() if v["classes"] == first["classes"]]
    measured = dict(same[:MOST])
    figure = _figure(9, max(3.5, 0.34 * len(first["classes"]) + 1.2))
    if rows:
        grid = figure.add_gridspec(2, 2, width_ratios=[1.6, 1])
        _bars(measured, first["classes"], figure.add_subplot(grid[:, 0]))
        _curves(rows, figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1]))
    else:
        _bars(measured, first["classes"], figure.subplots())
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    """An empty figure with a canvas of its own.

    The environment's MPLBACKEND, which a notebook sets for all of its processes, is hidden while matplotlib is imported:
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


def _bars(measured: Mapping[str, Any], classes: Sequence[str], axes: Axes) -> None:
    height = 0.8 / max(1, len(measured))
    for index, (name, values) in enumerate(measured.items()):
        ticks = [tick + index * height for tick in range(len(classes))]
        color = GREEN if index == 0 else (BLUE if index == 1 else GREY)
        axes.barh(ticks, [iou or 0 for iou in values["iou"]], height, label=_literal(name), color=color)
    axes.set_yticks([tick + 0.4 - height / 2 for tick in range(len(classes))], [_literal(name) for name in classes])
    axes.invert_yaxis()
    axes.set(xlabel="IoU", xlim=(0, 1))
    if len(measured) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), fontsize="small", frameon=False)
    _plain(axes)


def _literal(name: str) -> str:
    """A name as matplotlib shows it letter by letter: between two dollars it would read a formula, and it takes no text that is
    not UTF-8."""
    return name.replace("$", r"\$").encode("utf-8", "backslashreplace").decode()


def _curves(rows: Sequence[Mapping[str, str]], left: Axes, right: Axes) -> None:
    epochs = [int(row["epoch"]) for row in rows]
    left.plot(epochs, [float(row["loss"]) for row in rows], color=BLUE)
    left.set(xlabel="epoch", ylabel="training loss")
    if any(row.get("val_loss") for row in rows):
        _scored(rows, "val_loss", left, GREY)
        left.set(ylabel="training loss; grey: val cross-entropy")
    _scored(rows, "mean_iou", right, GREEN)
    right.set(xlabel="epoch", ylabel="val mean IoU")
    _plain(left)
    _plain(right)


def _scored(rows: Sequence[Mapping[str, str]], name: str, axes: Axes, color: str) -> None:
    """This column over the epochs that were scored."""
    points = [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
    axes.plot([epoch for epoch, _ in points], [value for _, value in points], "o-", markersize=3, color=color)


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter that the font lacks is a box
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
