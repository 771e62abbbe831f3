"""The curves of a training as CSV, and charts, PNG files that show what there is."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from model.weights_file import Weights
from tests.support.checkout import ROOT
from tests.support.training.runs import rows
from tests.support.variants import long
from training.reporting.curves import COLUMNS, Curves, curves_chart, draw, read_curves, score_chart


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


ROWS = [{"epoch": str(i), "loss": str(1 / i), "mean_iou": "" if i % 2 else "0.5"} for i in range(1, 5)]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=["PNG"]).convert("RGB")


def shows(image: Image.Image, color: str) -> bool:
    """Whether the colour `#rrggbb` is drawn somewhere."""
    wanted = tuple(bytes.fromhex(color[1:]))
    return wanted in {colour for _, colour in image.getcolors(1 << 24) or []}


def scored(weights: Weights, **scores: dict[str, Any]) -> Weights:
    return replace(weights, manifest=replace(weights.manifest, scores=scores))


def test_curves_show_the_loss_and_the_scores_there_are() -> None:
    image = opened(curves_chart(ROWS))
    assert shows(image, "#4269d0")
    assert shows(image, "#3ca951")
    assert not shows(opened(curves_chart(ROWS[:1])), "#3ca951")


def test_the_val_loss_stands_beside_the_training_loss_where_there_is_one() -> None:
    assert not shows(opened(curves_chart(ROWS)), "#b8bec5")
    assert shows(opened(curves_chart([row | {"val_loss": row["mean_iou"]} for row in ROWS])), "#b8bec5")


def test_the_curves_of_published_files_are_drawn() -> None:
    published = sorted((ROOT / "weights").glob("*.curves.csv"))
    assert published
    for path in published:
        assert shows(opened(curves_chart(read_curves(path))), "#3ca951")


def test_a_chart_without_rows_is_drawn_all_the_same() -> None:
    assert opened(curves_chart([])).width > 500


def test_rows_come_from_the_csv_and_none_from_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text("epoch,loss,mean_iou\n1,0.5,\n")
    assert read_curves(tmp_path / "curves.csv") == [{"epoch": "1", "loss": "0.5", "mean_iou": ""}]
    assert read_curves(tmp_path / "nowhere.csv") == []


def test_scores_are_bars_in_a_color_for_each_measurement_of_the_first_ones_classes(narrow: Weights, tmp_path: Path) -> None:
    one = {"classes": ["a", "b"], "iou": [0.9, None]}
    other = {"classes": ["a", "b"], "iou": [0.5, 0.5]}
    elsewhere = {"classes": ["c"], "iou": [0.5]}
    csv = tmp_path / "curves.csv"
    assert shows(opened(score_chart(scored(narrow, one=one), csv)), "#3ca951")
    assert not shows(opened(score_chart(scored(narrow, one=one, elsewhere=elsewhere), csv)), "#4269d0")
    assert shows(opened(score_chart(scored(narrow, one=one, other=other), csv)), "#4269d0")


def test_curves_stand_beside_the_scores_where_there_are_some(narrow: Weights, tmp_path: Path) -> None:
    weights = scored(narrow, one={"classes": ["a"], "iou": [0.9]})
    without = opened(score_chart(weights, tmp_path / "curves.csv"))
    (tmp_path / "curves.csv").write_text("epoch,loss,mean_iou\n1,0.5,\n2,0.4,0.3\n")
    assert shows(opened(score_chart(weights, tmp_path / "curves.csv")), "#4269d0")
    assert not shows(without, "#4269d0")


def test_a_file_without_scores_has_a_chart_too(narrow: Weights, tmp_path: Path) -> None:
    assert opened(score_chart(scored(narrow), tmp_path / "curves.csv")).width > 500


@pytest.mark.parametrize("backend", ["module://a.b", *long("module://matplotlib_inline.backend_inline", "TkAgg", "nonsense")])
def test_a_backend_of_the_environment_does_not_matter(backend: str) -> None:
    """A notebook sets one for every process that it starts, installed for it or not."""
    program = (
        "import os, sys; from training.reporting.curves import curves_chart; "
        "rows = [{'epoch': '1', 'loss': '2'}, {'epoch': '2', 'loss': '1'}]; "
        "sys.stdout.buffer.write(curves_chart(rows)); assert os.environ['MPLBACKEND'] == sys.argv[1]"
    )
    environment = os.environ | {"MPLBACKEND": backend}
    command = [sys.executable, "-c", program, backend]
    run = subprocess.run(command, capture_output=True, check=True, env=environment, cwd=ROOT)
    assert shows(opened(run.stdout), "#4269d0")


def test_a_chart_that_cannot_be_drawn_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> bytes:
        raise RuntimeError("no font\nat all")

    draw(tmp_path / "a.png", fails)
    draw(tmp_path / "none" / "a.png", lambda: b"")
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{tmp_path / 'a.png'} is not drawn: no font"
    assert "none/a.png is not drawn: " in second


def test_dollars_in_names_are_no_formulas(narrow: Weights) -> None:
    classes = ["a$b", r"$\frac{", "$$", "c"]
    measured = {"classes": classes, "iou": [0.1, 0.2, 0.3, None]}
    weights = scored(narrow, **{"5$ and 6$, val": measured, "$_$": measured})
    assert opened(score_chart(weights, Path("none.csv")))


@pytest.mark.parametrize("name", ["\U0001f343", os.fsdecode(b"d\xe4ta")], ids=["emoji", "not UTF-8"])
def test_names_that_the_font_lacks_are_drawn_in_silence(narrow: Weights, name: str) -> None:
    weights = scored(
        narrow, **{name: {"classes": [name, "b"], "iou": [0.5, 0.25]}, "c": {"classes": [name, "b"], "iou": [1, 1]}}
    )
    assert shows(opened(score_chart(weights, Path("none.csv"))), "#3ca951")
