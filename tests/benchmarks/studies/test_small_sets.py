"""The study of small data sets: what its rows train, and that a row is trained once."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.studies import small_sets
from benchmarks.studies.small_sets import TABLE, Budget, add_unlabelled, count_classes, small_sets_table, write_set
from benchmarks.studies.trainings import ROOT
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
    _, _, known, shapes = small_sets_table().splitlines()
    assert known.endswith("| 60 | the rule | 2 | 60 | 0.820 | 0.800 | +0.020 | -0.010 to +0.050 |")
    assert shapes.endswith("| 60 | the rule | 1 | 60 | 0.800 | - | - | - |")


def test_unlabelled_photographs_get_the_masks_of_a_network(tmp_path: Path, narrow_file: Path) -> None:
    ids = np.full((32, 32), 8, np.uint8)
    voc = write_voc(tmp_path / "voc", {f"{i:02d}": ids for i in range(8)})
    write_voc(tmp_path / "voc", {f"v{i}": ids for i in range(3)}, "val")
    args = small_sets.make_parser().parse_args(["--voc", str(voc), "--out", str(tmp_path / "out"), "--threads", "1"])
    data = write_set("voc", 4, 72, args)
    chosen = {"source": "voc", "class_map": "cat=background,cow=circle,dog=circle,horse=square,*=triangle"}
    folder = add_unlabelled(data, chosen, 3, narrow_file, args)
    assert (folder / "ImageSets/Segmentation/train.txt").read_text().split() == ["00", "02", "04", "06", "01", "03", "05"]
    assert np.array_equal(np.array(Image.open(folder / "SegmentationClass/00.png")), ids)
    assert set(np.unique(np.array(Image.open(folder / "SegmentationClass/01.png")))) <= {8, 10, 13, 0, 255}
    assert (data / "SegmentationClass").is_symlink()
    assert not (voc / "SegmentationClass/01.png").is_symlink()
    assert np.array_equal(np.array(Image.open(voc / "SegmentationClass/01.png")), ids)
    with pytest.raises(SystemExit, match="no unlabelled photographs of shapes"):
        add_unlabelled(write_set("shapes", 4, 2, args), {"source": "shapes"}, 3, narrow_file, args)
