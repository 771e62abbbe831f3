"""Groups of frames, such as drives: left out, scored alone; and frames that stand in two splits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from model.labels import numbered_labels
from model.weights_file import load_weights
from tests.support.training.data_sets import write_camvid
from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.data.layouts import DataError
from training.data.split import Split
from training.survey.copies import shared_frames
from training.survey.datasets import get_split
from training.survey.folds import GROUP, groups, only, without
from training.survey.records import survey_all

FOUR = numbered_labels(["background", "circle", "square", "triangle"])


def ids(seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 4, (8, 8), np.uint8)


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    """Three drives, 1, 2 and 3 frames."""
    names = ["0001TP_006690", "0006R0_f00930", "0006R0_f00960", "0016E5_00390", "0016E5_00420", "0016E5_00450"]
    return write_camvid(tmp_path / "drives", {name: ids(seed) for seed, name in enumerate(names)})


@pytest.fixture
def split(drives: Path) -> Split:
    return get_split(drives, "train", FOUR)


def names(split: Split) -> list[str]:
    return [frame.name for frame in split.frames]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (GROUP, ["0001TP", "0006R0", "0016E5"]),
        (r"\d{4}.", ["0001T", "0006R", "0016E"]),
        (r".*(\d)(\d)$", ["2", "3", "5", "6", "9"]),  # what the first parentheses find
        (r"(?:0001|0006)?(.)", ["0", "R", "T"]),
    ],
)
def test_groups_are_what_a_pattern_finds(split: Split, pattern: str, expected: list[str]) -> None:
    assert groups(split, pattern) == expected


def test_missing_files_are_told_before_groups_are_sought(drives: Path) -> None:
    for image in (drives / "train").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="6 errors in the data set"):
        groups(get_split(drives, "train", FOUR))


def test_a_group_alone_and_the_rest_hold_every_frame_once(split: Split) -> None:
    alone, rest = only(split, "0006R0"), without(split, "0006R0")
    assert names(alone) == ["0006R0_f00930", "0006R0_f00960"]
    assert sorted(names(alone) + names(rest)) == sorted(names(split))
    assert (alone.name, rest.name) == ("train 0006R0", "train without 0006R0")
    assert np.array_equal(alone.mask(1), split.mask(2))


@pytest.mark.parametrize(
    ("group", "pattern", "message"),
    [
        ("0005VD", r"[^_]+", "of the groups 0001TP, 0006R0, 0016E5; got '0005VD'"),
        ("0", r"0", "are all of one group, '0'; two are needed"),
        ("x", r"x", "'x' finds no group at the beginning of the frame's name '0001TP_006690'"),
        ("x", r"\d+(x)?", "finds no group at the beginning of the frame's name '0001TP_006690'"),
        ("x", r"(", "--group-pattern must be a regular expression, got '('"),
    ],
)
def test_groups_that_are_not_there_are_told(split: Split, group: str, pattern: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        only(split, group, pattern)
    assert message in str(caught.value)


def test_frames_of_both_splits_are_refused_whatever_their_names(drives: Path, split: Split) -> None:
    write_camvid(drives, {"copy": ids(3), "other": ids(9)}, "val")
    (error,) = shared_frames(*survey_all([split, get_split(drives, "val", FOUR)]))
    assert re.search(r"1 of 2 frames of 'val' are in 'train' too: .*0016E5_00390.*copy\.png", str(error))
    write_camvid(drives, {"0001TP_006690": ids(9)}, "test")  # a name of train, and another image
    assert shared_frames(*survey_all([split, get_split(drives, "test", FOUR)])) == []


def test_a_training_on_frames_of_val_is_refused(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = on_shapes(shapes, tiny_recipe, tmp_path / "out", "--val-split", "train")
    assert main(arguments) == 2
    assert "16 of 16 frames of 'train' are in 'train' too" in capsys.readouterr().err


@pytest.mark.long
def test_each_group_is_left_out_in_turn(
    drives: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--data", str(drives), "--labels", "camvid", "--recipe", str(tiny_recipe), "--out", str(out)]
    command = [*arguments, "--device", "cpu", "--threads", "1", "--epochs", "0", "--data-name", "drives"]
    assert main([*command, "--group", "each"]) == 0
    *_, scores, mean = capsys.readouterr().out.splitlines()
    scores_by_group = {}
    for group, frame_count in {"0001TP": 5, "0006R0": 4, "0016E5": 3}.items():
        manifest = load_weights(out / group / "fcn.safetensors").manifest
        ((name, score),) = manifest.scores.items()
        assert name == f"drives, train {group}"
        splits = manifest.training["splits"]
        assert [splits[one]["frames"] for one in splits] == [frame_count, 6 - frame_count]
        scores_by_group[group] = score["mean_iou"]
    assert scores == ", ".join(f"{group} {value:.4f}" for group, value in scores_by_group.items())
    assert mean == f"mean of 3 groups: {sum(scores_by_group.values()) / 3:.4f}"
