"""A survey reads each file of a data set once, and a second one reads only what has changed."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.labels import numbered_labels
from tests.support.costs import compares_times
from tests.support.training.data_sets import FOUR, IDS, write_frame, write_voc
from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.commands.train_arguments import parser
from training.commands.train_setup import survey_splits
from training.data.class_mapping import parse_class_mapping
from training.data.masks import DrawnOn
from training.data.problems import DataError
from training.data.split import get_split
from training.survey.records import survey_all

Count = Callable[[Path, Callable[[], object]], Counter[str]]


@pytest.fixture(scope="module")
def count_opens() -> Count:
    """Counts how often a call opens each image and mask of a folder, by whatever function."""
    watched: list[Path] = []
    opens: Counter[str] = Counter()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and watched and isinstance(arguments[0], str | os.PathLike):
            path = Path(arguments[0])
            if watched[0] in path.parents and path.suffix in (".jpg", ".png"):
                opens[f"{path.parent.name}/{path.name}"] += 1

    sys.addaudithook(hook)  # it cannot be removed, so it counts only while a folder is watched

    def count(folder: Path, call: Callable[[], object]) -> Counter[str]:
        opens.clear()
        watched.append(folder)
        try:
            call()
        finally:
            watched.clear()
        return opens.copy()

    return count


@pytest.mark.long
def test_a_training_reads_each_file_once_before_its_first_batch_and_a_second_run_none(
    count_opens: Count, shapes: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    """With all that asks for classes of frames. Without epochs, only val is read again: for the final score."""
    uses = ["--set", "class_weights='median'", "--set", "rare_share=0.5", "--epochs", "0"]
    arguments = on_shapes(shapes, tiny_recipe, tmp_path / "out", *uses)
    for reads in (1, 0):
        opens = count_opens(shapes, lambda: main(arguments))
        by_split = [Counter(n for name, n in opens.items() if f"/{split}_" in name) for split in ("train", "val")]
        assert by_split == [Counter({1: 16} if reads else {}), Counter({reads + 1: 8})]


@pytest.mark.long
def test_all_folds_are_trained_on_one_survey(count_opens: Count, shapes: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    folds = ["--epochs", "0", "--folds", "2"]
    opens = count_opens(shapes, lambda: main(on_shapes(shapes, tiny_recipe, tmp_path / "out", *folds)))
    assert len(opens) == 24
    assert set(opens.values()) == {2}  # for the survey, and for the score of its own fold


@compares_times
def test_a_training_surveys_one_layer(shapes: Path, tmp_path: Path) -> None:
    """The second takes most of the time."""
    args = parser().parse_args(["--data", str(shapes), "--labels", str(shapes / "classes.json")])
    start = time.process_time()
    data = survey_splits(args, tmp_path / "survey.json")
    middle = time.process_time()
    surveys = survey_all([data.train.split, data.validation.split], details=True)
    assert middle - start < (time.process_time() - middle) / 2
    assert not any(record.details for record in data.train.records)
    assert all(record.details for survey in surveys for record in survey.records)


def test_a_frame_that_is_listed_twice_or_in_two_splits_is_read_once(count_opens: Count, tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": IDS, "b": IDS})
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\na\n")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("b\n")
    splits = [get_split(tmp_path, name, FOUR) for name in ("train", "val")]
    opens = count_opens(tmp_path, lambda: survey_all(splits))
    assert list(opens.values()) == [1] * 4


@pytest.mark.parametrize("drawn_on", ["upright", "stored"])
def test_a_second_survey_reads_what_has_changed(count_opens: Count, tmp_path: Path, drawn_on: DrawnOn) -> None:
    write_voc(tmp_path, dict.fromkeys("abc", IDS))
    split, file = get_split(tmp_path, "train", FOUR, drawn_on=drawn_on), tmp_path / "out" / "survey.json"
    (first,) = survey_all([split], file=file)
    assert not count_opens(tmp_path, lambda: survey_all([split], file=file))
    Image.fromarray(IDS[::-1]).save(tmp_path / "SegmentationClass" / "b.png")
    opens = count_opens(tmp_path, lambda: survey_all([split], file=file))
    assert set(opens) == {"JPEGImages/b.png", "SegmentationClass/b.png"}
    (second,) = survey_all([split], file=file)
    assert second == survey_all([split])[0]
    assert first.contents != second.contents


def test_another_reading_of_masks_is_another_survey(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": np.array([[0, 128]], np.uint8)})
    file = tmp_path / "survey.json"
    colors = get_split(tmp_path, "train", numbered_labels(["a", "b"]), meaning="colors")
    with pytest.raises(DataError, match="stand for no class"):
        survey_all([colors], file=file)
    many = get_split(tmp_path, "train", numbered_labels([f"c{index}" for index in range(200)]))
    survey_all([many], file=file)
    with pytest.raises(DataError, match="ids \\[128\\]"):
        survey_all([get_split(tmp_path, "train", FOUR)], file=file)


def test_a_mapping_needs_no_survey_of_its_own(count_opens: Count, tmp_path: Path) -> None:
    """Neither do names that are not UTF-8."""
    name, file = os.fsdecode(b"Bl\xe4tter"), tmp_path / "survey.json"
    write_frame(tmp_path / "images" / "train" / f"{name}.png", tmp_path / "masks" / "train" / f"{name}.png", IDS)
    (all_classes,) = survey_all([get_split(tmp_path, "train", FOUR)], file=file)
    assert all_classes.class_pixels.tolist() == [[1, 2, 1, 1]]
    split = get_split(tmp_path, "train", FOUR, parse_class_mapping("0=0,1=1,2=1", FOUR))
    assert not count_opens(tmp_path, lambda: survey_all([split], file=file))
    assert survey_all([split], file=file)[0].class_pixels.tolist() == [[1, 3]]


def test_a_frame_with_errors_is_read_again(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": IDS, "b": IDS + 90})
    split, file = get_split(tmp_path, "train", FOUR), tmp_path / "survey.json"
    for _ in range(2):
        with pytest.raises(DataError, match=r"b\.png: ids"):
            survey_all([split], file=file)
    Image.fromarray(IDS).save(tmp_path / "SegmentationClass" / "b.png")
    assert len(survey_all([split], file=file)[0].records) == 2


@pytest.mark.parametrize("content", [b'{"a": {"size": 1}}', b"\xff"])
def test_a_damaged_file_of_records_is_written_anew(tmp_path: Path, content: bytes) -> None:
    write_voc(tmp_path, {"a": IDS})
    split, file = get_split(tmp_path, "train", FOUR), tmp_path / "survey.json"
    file.write_bytes(content)
    assert survey_all([split], file=file) == survey_all([split])
    assert len(file.read_bytes()) > 100
