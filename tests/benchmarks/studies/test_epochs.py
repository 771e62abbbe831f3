"""The study of epochs: its test split, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import epochs, small_sets
from benchmarks.studies.epochs import LISTS, counts_on_test, epochs_table, write_test
from tests.support.training.data_sets import write_camvid, write_voc


def test_frames_that_chose_nothing_are_the_test_split(tmp_path: Path, narrow_file: Path) -> None:
    ids = np.zeros((32, 32), np.uint8)
    voc, camvid = tmp_path / "voc", tmp_path / "camvid"
    for split, letter in (("train", "t"), ("val", "v")):
        write_voc(voc, {f"{letter}{i}": ids for i in range(4)}, split)
        write_camvid(camvid, {f"{letter}{i}": ids for i in range(4)}, split)
    args = small_sets.make_parser().parse_args(["--voc", str(voc), "--camvid", str(camvid), "--out", str(tmp_path / "out")])
    data = small_sets.write_set("voc", 2, 2, args)
    write_test(data, "voc", args)
    assert (data / LISTS / "val.txt").read_text().split() == ["v0", "v2"]
    assert (data / LISTS / "test.txt").read_text().split() == ["v1", "v3"]
    chosen = {"source": "voc", "class_map": "cat=background,cow=circle,dog=square,*=triangle"}
    assert counts_on_test(narrow_file, data, chosen, 1).shape == (2, 4, 4)
    data = small_sets.write_set("camvid", 2, 2, args)
    for _ in range(2):
        write_test(data, "camvid", args)
        assert [path.name for path in sorted((data / "test").iterdir())] == ["v1.png", "v3.png"]
        assert [path.name for path in sorted((data / "testannot").iterdir())] == ["v1.png", "v3.png"]


def test_the_table_has_means_over_seeds_and_the_widest_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "RESULTS", tmp_path / "epochs.json")
    rows = [
        {
            "set": "four-known",
            "seed": seed,
            "epochs": 34,
            "best_epoch": 10 + seed,
            "val": {"last": 0.7, "best": 0.8},
            "test": {"last": 0.6, "best": 0.5 + seed / 10},
            "change": seed / 10 - 0.1,
            "change_95": [-0.2, 0.1 * seed],
        }
        for seed in (0, 1)
    ]
    (tmp_path / "epochs.json").write_text(json.dumps(rows))
    *_, line = epochs_table().splitlines()
    assert line.endswith("| 2 | 10, 11 of 34 | 0.700 | 0.800 | 0.600 | 0.550 | -0.050 | -0.200 to +0.100 |")
