"""The generated data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.demo import NAMES, write_demo_data
from training.data.label_files import read_labels
from training.survey.datasets import get_split


def test_it_is_a_data_set_of_every_class(tmp_path: Path) -> None:
    labels = read_labels(str(write_demo_data(tmp_path, train=12, val=3)))
    train, val = (get_split(tmp_path, name, labels) for name in ("train", "val"))
    assert (len(train.frames), len(val.frames)) == (12, 3)
    assert labels.names == list(NAMES)
    seen = np.unique(np.concatenate([train.mask(index).ravel() for index in range(12)]))
    assert seen.tolist() == [0, 1, 2, 3]


def test_a_seed_gives_the_same_data_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_demo_data(tmp_path / name, train=2, val=1, seed=seed)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 9
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)
    image = Path("JPEGImages") / "train_000.jpg"
    assert (tmp_path / "a" / image).read_bytes() != (tmp_path / "c" / image).read_bytes()
