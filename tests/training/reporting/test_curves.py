"""The curves of a training as CSV, and charts, PNG files that show what there is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate
from PIL import Image

from model.weights_file import Weights
from tests.support.checkout import ROOT
from tests.support.training.runs import rows
from tests.support.variants import long
from training.reporting.curves import COLUMNS, Curves, curves_figure, draw, png, score_chart


def add(curves: Curves, epoch: int, mean_iou: float | None = None) -> None:
    curves.add(epoch=epoch, loss=1 / epoch, learning_rate=1e-3, waited=0.5, mean_iou=mean_iou)


def test_each_epoch_adds_a_row_at_once_and_a_resumed_training_drops_those_after_its_epoch(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 0)
    assert rows(tmp_path) == []
    for epoch in range(1, 5):
        add(curves, epoch, 0.123456789 if epoch == 2 else None)
        assert len(rows(tmp_path)) == epoch
    resumed = Curves(tmp_path, 2)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2"]
    add(resumed, 3, 0.9)
    assert [row["mean_iou"] for row in rows(tmp_path)] == ["", "0.123457", "0.9"]
    assert rows(tmp_path)[1] == dict(zip(COLUMNS, ("2", "0.5", "0.001", "0.5", "0.123457"), strict=True))
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_each_line_of_metrics_is_an_epoch_as_the_schema_says(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 0)
    curves.add(epoch=1, loss=1.5, learning_rate=1e-3, waited=0.5, mean_iou=None)
    scores = {"iou/leaf, ä": 0.5, "iou/stem": None}
    curves.add(epoch=2, loss=float("nan"), learning_rate=1e-3, waited=0.5, mean_iou=0.25, val_loss=1.5, **scores)
    curves.add(epoch=3, loss=1.0, learning_rate=1e-3, waited=0.5, mean_iou=0.5, val_loss=0.5, **scores)
    first, second, third = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines())
    assert first == {"epoch": 1, "loss": 1.5, "learning_rate": 0.001, "waited": 0.5}
    assert "loss" not in second
    assert third["iou/leaf, ä"] == 0.5
    schema = json.loads((ROOT / "docs" / "schemas" / "metrics.schema.json").read_text())
    for line in (first, second, third):
        validate(line, schema)


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
    image = opened(png(curves_figure(ROWS)))
    assert shows(image, "#4269d0")
    assert shows(image, "#3ca951")
    first = opened(png(curves_figure(ROWS[:1])))
    assert shows(first, "#4269d0")
    assert not shows(first, "#3ca951")
    assert not shows(image, "#b8bec5")
    assert shows(opened(png(curves_figure([row | {"val_loss": row["mean_iou"]} for row in ROWS]))), "#b8bec5")
    assert opened(png(curves_figure([]))).width > 500


def test_both_curves_stand_over_the_same_whole_epochs() -> None:
    for some in (ROWS, ROWS[:1]):
        left, right = curves_figure(some).axes
        assert left.get_xlim() == right.get_xlim()
        assert all(tick == round(tick) for axes in (left, right) for tick in axes.get_xticks())


def test_scores_are_bars_in_a_color_for_each_measurement_of_the_first_ones_classes_beside_curves(
    narrow: Weights, tmp_path: Path
) -> None:
    one = {"classes": ["a", "b"], "iou": [0.9, None]}
    other = {"classes": ["a", "b"], "iou": [0.5, 0.5]}
    elsewhere = {"classes": ["c"], "iou": [0.5]}
    csv = tmp_path / "curves.csv"
    assert opened(score_chart(scored(narrow), csv)).width > 500
    alone = opened(score_chart(scored(narrow, one=one, elsewhere=elsewhere), csv))
    assert (shows(alone, "#3ca951"), shows(alone, "#4269d0")) == (True, False)
    assert shows(opened(score_chart(scored(narrow, one=one, other=other), csv)), "#4269d0")
    csv.write_text("epoch,loss,mean_iou\n1,0.5,\n2,0.4,0.3\n")
    assert shows(opened(score_chart(scored(narrow, one=one), csv)), "#4269d0")


@pytest.mark.parametrize("backend", ["module://a.b", *long("TkAgg")])
def test_a_backend_of_the_environment_does_not_matter(backend: str) -> None:
    """A notebook sets one for every process that it starts, installed for it or not."""
    program = (
        "import os, sys; from training.reporting.curves import curves_figure, png; "
        "rows = [{'epoch': '1', 'loss': '2'}, {'epoch': '2', 'loss': '1'}]; "
        "sys.stdout.buffer.write(png(curves_figure(rows))); assert os.environ['MPLBACKEND'] == sys.argv[1]"
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


@pytest.mark.parametrize("name", ["\U0001f343", os.fsdecode(b"d\xe4ta"), r"$\frac{"], ids=["emoji", "not UTF-8", "formula"])
def test_names_of_any_letters_are_drawn_in_silence(narrow: Weights, name: str) -> None:
    score = {"classes": [name, "b"], "iou": [0.5, 0.25]}
    weights = scored(narrow, **{name: score, "c": score})
    assert shows(opened(score_chart(weights, Path("none.csv"))), "#3ca951")
