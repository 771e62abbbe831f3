"""The curves of a training, as CSV and PNG."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.support.training.runs import rows
from training.reporting.curves import COLUMNS, Curves


def add(curves: Curves, epoch: int, mean_iou: float | None = None) -> None:
    curves.add(epoch=epoch, loss=1 / epoch, learning_rate=1e-3, waited=0.5, mean_iou=mean_iou)


def test_each_epoch_adds_a_row_at_once(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 0)
    assert rows(tmp_path) == []
    add(curves, 1)
    assert len(rows(tmp_path)) == 1
    add(curves, 2, 0.123456789)
    assert tuple(rows(tmp_path)[0]) == COLUMNS
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2"]
    assert [row["mean_iou"] for row in rows(tmp_path)] == ["", "0.123457"]
    assert rows(tmp_path)[1] == {
        "epoch": "2",
        "loss": "0.5",
        "learning_rate": "0.001",
        "waited": "0.5",
        "mean_iou": "0.123457",
    }


def test_scored_epochs_bring_columns_after_those_of_all(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 0)
    add(curves, 1)
    assert tuple(rows(tmp_path)[0]) == COLUMNS
    curves.add(
        epoch=2, loss=0.5, learning_rate=1e-3, waited=0.5, mean_iou=0.25, val_loss=1.5, **{"iou/a, b": 0.25, "iou/c": None}
    )
    add(curves, 3)
    more = ("val_loss", "iou/a, b", "iou/c")
    assert [tuple(row) for row in rows(tmp_path)] == [(*COLUMNS, *more)] * 3
    assert [[row[name] for name in more] for row in rows(tmp_path)] == [["", "", ""], ["1.5", "0.25", ""], ["", "", ""]]


def test_curves_of_fewer_columns_are_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text("epoch,loss,learning_rate,waited,mean_iou\n1,0.5,0.001,0,\n")
    Curves(tmp_path, 1).add(epoch=2, loss=0.5, learning_rate=1e-3, waited=0.5, mean_iou=0.25, val_loss=1.5)
    assert [(row["epoch"], row["val_loss"]) for row in rows(tmp_path)] == [("1", ""), ("2", "1.5")]


def test_a_resumed_training_keeps_its_rows_and_drops_those_after_its_epoch(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 0)
    for epoch in range(1, 5):
        add(curves, epoch)
    resumed = Curves(tmp_path, 2)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2"]
    add(resumed, 3, 0.9)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert rows(tmp_path)[2]["mean_iou"] == "0.9"


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 0)
    add(curves, 1)
    add(curves, 2, 0.5)
    curves.plot()
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
        assert image.width > 500
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 2


def test_a_plot_without_rows_or_scores_is_drawn_all_the_same(tmp_path: Path) -> None:
    Curves(tmp_path, 0).plot()
    assert (tmp_path / "curves.png").is_file()
