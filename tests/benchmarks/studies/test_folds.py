"""The study of folds: its sets without a fifth, its mean of probabilities, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import folds, small_sets
from benchmarks.studies.folds import PROBABILITIES, TRAIN, WAYS, folds_table, predictions, score, without_fold
from model.inference.segmenter import Segmenter
from tests.support.images import encode, make_photo
from tests.support.training.data_sets import write_voc
from training.data.class_mapping import parse_class_mapping
from training.data.label_files import find_labels
from training.survey.datasets import get_split


def test_a_set_without_a_fold_lacks_every_fifth_frame(tmp_path: Path) -> None:
    voc = write_voc(tmp_path / "voc", {f"{i:02d}": np.zeros((32, 32), np.uint8) for i in range(7)})
    args = small_sets.make_parser().parse_args(["--voc", str(voc), "--out", str(tmp_path / "out")])
    write_voc(tmp_path / "voc", {"v": np.zeros((32, 32), np.uint8)}, "val")
    data = small_sets.write_set("voc", 7, 72, args)
    assert (without_fold(data, 1) / TRAIN).read_text().split() == ["00", "02", "03", "04", "05"]
    assert (data / TRAIN).read_text().split() == ["00", "01", "02", "03", "04", "05", "06"]


def test_the_mean_of_equal_networks_is_the_network(tmp_path: Path, narrow_file: Path) -> None:
    segmenter = Segmenter.from_weights(narrow_file, "cpu", precision="float32", threads=1)
    photo = make_photo(96, 96)
    truth = segmenter(photo).class_map
    voc = write_voc(tmp_path / "voc", {"v": truth}, "val")
    (voc / "JPEGImages" / "v.png").write_bytes(encode(photo))
    labels = find_labels(None, voc)
    mapping = parse_class_mapping("0=0,1=1,2=2,3=3,*=0", labels)
    split = get_split(voc, "val", labels, mapping)
    ((_, one),) = predictions(split, [segmenter], PROBABILITIES)
    ((_, three),) = predictions(split, [segmenter] * 3, PROBABILITIES)
    assert one == pytest.approx(three, abs=1e-6)
    assert one.sum(0) == pytest.approx(1, abs=0.01)
    assert score(split, [segmenter], PROBABILITIES) == 1


def test_the_table_has_means_over_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "RESULTS", tmp_path / "folds.json")
    rows = [{"set": "four-known", "photographs": 60, "seed": seed} | dict.fromkeys(WAYS, 0.7 + seed / 10) for seed in (0, 1)]
    (tmp_path / "folds.json").write_text(json.dumps(rows))
    *_, line = folds_table().splitlines()
    assert line.endswith("| 60 | 2 | 0.750 | 0.750 | 0.750 | 0.750 | 0.750 |")
