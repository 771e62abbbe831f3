"""The generated data set."""

from __future__ import annotations

from pathlib import Path

from training.data.demo import write_demo_data


def test_a_seed_gives_the_same_data_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_demo_data(tmp_path / name, train=2, val=1, seed=seed)
    contents = [[file.read_bytes() for file in sorted((tmp_path / name).rglob("*.*"))] for name in "abc"]
    assert len(contents[0]) == 9
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]
