"""The curves of a training: a CSV that grows by a row an epoch, and a PNG plot of it."""

from __future__ import annotations

import csv
from pathlib import Path

COLUMNS = ("epoch", "loss", "learning_rate", "waited", "mean_iou")


class Curves:
    """Writes `curves.csv` and `curves.png` in a folder; rows after `epoch`, of a killed run, are dropped."""

    def __init__(self, folder: Path, epoch: int) -> None:
        self.folder = folder
        self.rows = [row for row in self._read() if int(row["epoch"]) <= epoch]
        self._write()

    def add(self, **values: float | None) -> None:
        """Adds a row; `None` leaves its cell empty."""
        self.rows.append({name: "" if values[name] is None else f"{values[name]:.6g}" for name in COLUMNS})
        self._write()

    def plot(self) -> None:
        """Draws loss and val mean IoU over epochs."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        epochs = [int(row["epoch"]) for row in self.rows]
        left.plot(epochs, [float(row["loss"]) for row in self.rows], color="#4269d0")
        left.set(xlabel="epoch", ylabel="training loss")
        scored = [(int(row["epoch"]), float(row["mean_iou"])) for row in self.rows if row["mean_iou"]]
        right.plot(*zip(*scored, strict=True) if scored else ([], []), marker="o", markersize=3, color="#3ca951")
        right.set(xlabel="epoch", ylabel="val mean IoU")
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(self.folder / "curves.png", dpi=120)

    def _read(self) -> list[dict[str, str]]:
        path = self.folder / "curves.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _write(self) -> None:
        partial = self.folder / "curves.csv.part"
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        partial.replace(self.folder / "curves.csv")
