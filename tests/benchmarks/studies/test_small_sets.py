"""The study of small data sets: what its rows train, and that a row is trained once."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.studies import small_sets
from benchmarks.studies.small_sets import HEADER, ROOT, TABLE, Budget, count_classes, table_rows, with_table, write_set
from tests.support.training.data_sets import write_camvid, write_voc
from training.commands.train_arguments import parser
from training.learning.recipe import make_recipe, parse_changes

BUDGET = vars(Budget(60, 320, 192, 4))


def row(seed: int, change: float | None, interval: list[float | None], **facts: Any) -> dict[str, Any]:
    key = {"set": "four-known", "photographs": 60, "setting": "rule", "seed": seed, "budget": BUDGET}
    start = None if change is None else 0.8
    return key | {"mean_iou": 0.8 + (change or 0), "start": start, "change": change, "change_95": interval, "steps": 60} | facts


def test_every_setting_is_a_recipe() -> None:
    for setting in tomllib.loads(TABLE.read_text())["settings"].values():
        changes = parser().parse_args(shlex.split(setting["changes"])).set
        make_recipe(ROOT / small_sets.RECIPE, parse_changes(changes))


def test_a_budget_has_its_steps_whatever_the_number_of_photographs() -> None:
    for photographs in (30, 60, 200):
        changes = Budget(60, 320, 192, 4).changes(photographs)
        recipe = make_recipe(None, parse_changes(changes[1::2]))
        assert (recipe.side, recipe.tile, recipe.crop, recipe.batch) == ((320, 320), (320, 320), (192, 192), 4)
        assert recipe.epochs * recipe.steps_of_epoch(photographs) == pytest.approx(60, abs=20)
    assert Budget().changes(30) == []


def test_sets_are_evenly_chosen_links(tmp_path: Path) -> None:
    ids = np.zeros((32, 32), np.uint8)
    voc = write_voc(tmp_path / "voc", {f"{i:02d}": ids for i in range(12)})
    write_voc(tmp_path / "voc", {f"v{i}": ids for i in range(3)}, "val")
    camvid = write_camvid(tmp_path / "camvid", {f"{i:02d}": ids for i in range(12)})
    (tmp_path / "camvid/train/00.png").rename(tmp_path / "camvid/train/00.webp")
    write_camvid(tmp_path / "camvid", {f"v{i}": ids for i in range(3)}, "val")
    args = small_sets.make_parser().parse_args(["--voc", str(voc), "--camvid", str(camvid), "--out", str(tmp_path / "out")])
    folder = write_set("voc", 4, 72, args)
    assert (folder / "ImageSets/Segmentation/train.txt").read_text().split() == ["00", "03", "06", "09"]
    assert len((folder / "ImageSets/Segmentation/val.txt").read_text().split()) == 3
    assert count_classes(folder, None, ["--class-map", "cat=cat,*=background"]) == 2
    folder = write_set("camvid", 4, 2, args)
    assert [path.name for path in sorted((folder / "trainannot").iterdir())] == ["00.png", "03.png", "06.png", "09.png"]
    assert [path.name for path in sorted((folder / "train").iterdir())] == ["00.webp", "03.png", "06.png", "09.png"]
    assert count_classes(folder, "camvid", []) == 11
    assert count_classes(write_set("shapes", 4, 2, args), None, []) == 4


def test_a_row_that_is_done_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_sets, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(small_sets, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text("")
    (tmp_path / "results.json").write_text(json.dumps([row(0, 0.01, [0.0, 0.02])]))
    trained: list[int] = []

    def train_row(each: small_sets.Row, *_: object) -> dict[str, Any]:
        trained.append(each.seed)
        return {"mean_iou": 0.5, "start": None, "change": None, "change_95": [None, None], "steps": 60}

    monkeypatch.setattr(small_sets, "train_row", train_row)
    command = "small_sets --steps 60 --side 320 --crop 192 --batch 4 --photographs 60 four-known rule"
    monkeypatch.setattr("sys.argv", command.split())
    assert small_sets.main() == 0
    assert trained == [1, 2]
    assert small_sets.main() == 0
    assert trained == [1, 2]
    monkeypatch.setattr("sys.argv", command.replace("--steps 60", "--steps 80").split())
    assert small_sets.main() == 0
    assert trained == [1, 2, 0, 1, 2]


def test_the_table_has_means_over_seeds_and_the_widest_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_sets, "RESULTS", tmp_path / "results.json")
    done = [row(0, 0.01, [-0.01, 0.03]), row(1, 0.03, [0.01, 0.05]), row(0, None, [None, None], set="shapes")]
    (tmp_path / "results.json").write_text(json.dumps(done))
    known, shapes = table_rows()
    assert known.endswith("| 60 | the rule | 2 | 60 | 0.820 | 0.800 | +0.020 | -0.010 to +0.050 |\n")
    assert shapes.endswith("| 60 | the rule | 1 | 60 | 0.800 | - | - | - |\n")
    head = f"text\n\n| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}\n"
    assert with_table(f"{head}| an old row |\n\nmore\n") == f"{head}{known}{shapes}\nmore\n"


def test_the_page_has_the_rows_that_are_done() -> None:
    assert small_sets.read_results()
    page = small_sets.PAGE.read_text()
    assert with_table(page) == page
    assert "".join(table_rows()) in page
