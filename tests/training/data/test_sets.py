"""Sets that label some classes, and mixtures of sets: how they are read, what is refused, and what is scored on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from model.labels import numbered_labels
from tests.support.classes import NAMES
from tests.support.training.data_sets import FOUR, write_frame
from training.data.class_mapping import parse_class_mapping
from training.data.network_classes import network_classes
from training.data.problems import DataError
from training.data.split import Split, get_split
from training.scoring.changes import only
from training.scoring.evaluate import frame_counts, predictions
from training.scoring.intervals import score_entry
from training.scoring.metrics import ConfusionMatrix
from training.survey.inspection import class_errors, pair_errors
from training.survey.records import survey_all

MIXED = '[full]\nweight = 2\n\n[some]\nsplit = "train"\nvoid_above = 0.5\n\n[some-val]\npath = "val/some"\nsplit = "val"\n'
SOME = np.array([[0, 0, 2], [2, 255, 0]], np.uint8)  # labels 2 alone


def write_set(folder: Path, masks: dict[str, np.ndarray], labelled: str = "") -> Path:
    for seed, (name, ids) in enumerate(masks.items()):
        pixels = np.random.default_rng([seed, *str(folder).encode()]).integers(0, 256, (*ids.shape, 3), dtype=np.uint8)
        write_frame(folder / "images" / f"{name}.png", folder / "masks" / f"{name}.png", ids, pixels)
    if labelled:
        (folder / "labelled.txt").write_text(labelled)
    return folder


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    """Frames of all classes for both splits, and two folders without lists whose frames show one class."""
    for split in ("train", "val"):
        write_set(tmp_path / "full", {f"{split}/{at}": np.array([[0, 1, 2], [3, 1, 255]], np.uint8) for at in range(3)})
    write_set(tmp_path / "some", {str(at): SOME for at in range(5)}, f"{NAMES[2]}\n")
    write_set(tmp_path / "val" / "some", {"9": SOME}, "2")
    (tmp_path / "sets.toml").write_text(MIXED)
    return tmp_path


def test_a_mixture_has_the_frames_of_its_sets_and_the_rest_of_a_set_has_no_class(mixture: Path) -> None:
    train, val = (get_split(mixture, name, FOUR) for name in ("train", "val"))
    assert [frame.name for frame in train.frames] == [*(f"full/{at}" for at in range(3)), *(f"some/{at}" for at in range(5))]
    assert [frame.name for frame in val.frames] == [*(f"full/{at}" for at in range(3)), "some-val/9"]
    assert [(each.name, each.weight, each.void_above) for each in train.sets] == [("full", 2, 1), ("some", 1, 0.5)]
    assert train.mask(0).tolist() == [[0, 1, 2], [3, 1, 255]]
    assert train.mask(5).tolist() == [[4, 4, 2], [2, 255, 4]]
    (survey,) = survey_all([train])
    assert survey.class_pixels[[0, 5]].tolist() == [[1, 2, 1, 1], [0, 0, 2, 0]]


def test_a_class_of_a_class_map_is_labelled_if_all_that_count_as_it_are(mixture: Path) -> None:
    (mixture / "some" / "labelled.txt").write_text("1 2")
    split = get_split(mixture, "train", FOUR, parse_class_mapping("0=0,1=1,2=2,3=2", FOUR))
    assert split.labelled([*split.sets][1]).tolist() == [False, True, False]
    assert split.mask(5).tolist() == [[3, 3, 3], [3, 255, 3]]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("some/labelled.txt", "", r"some/labelled.txt names no class, so the set labels nothing; write ids from 1 to 3"),
        ("some/labelled.txt", "2\n7", r"some/labelled.txt names '7', which a set cannot label; write ids from 1 to 3"),
        ("some/labelled.txt", NAMES[2][:-1], rf"names '{NAMES[2][:-1]}' \(did you mean '{NAMES[2]}'\?\), which a set cannot"),
        (
            "some/labelled.txt",
            "0 2",
            r"some/labelled.txt names '0', which a set cannot label; .* without the background, or all",
        ),
        ("some/classes.json", '{"classes": ["ground", "roof"]}', r"some has the classes ground, roof, the mixture .* has"),
        ("sets.toml", "", r"sets.toml names no set; write a table for each"),
        ("sets.toml", "[full", r"sets.toml is not TOML: "),
        ("sets.toml", "[full]\nwieght = 2", r"sets.toml: full.wieght: Extra inputs .*; a set has path, weight, split, void_"),
        ("sets.toml", "[full]\nweight = 0", r"sets.toml: full.weight: Input should be greater than 0"),
        ("sets.toml", "[none]", r"none is not a folder"),
        ("sets.toml", '[some]\nsplit = "val"', r"sets.toml: no set has frames of the split 'train'"),
    ],
)
def test_a_mixture_that_cannot_be_used_is_refused_in_a_line(mixture: Path, file: str, text: str, message: str) -> None:
    (mixture / file).write_text(text)
    with pytest.raises(DataError, match=message) as error:
        get_split(mixture, "train", FOUR)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names", [["sky", "car"], ["background", *map(str, range(1000, 1253))]])
def test_a_set_that_labels_some_classes_needs_a_background_and_ids_to_spare(tmp_path: Path, names: list[str]) -> None:
    write_set(tmp_path, {"a": SOME}, "1")
    with pytest.raises(DataError, match=rf"class 0 must be background, of at most 253 classes, got '{names[0]}' of"):
        get_split(tmp_path, "train", numbered_labels(names))


def test_masks_must_show_labelled_classes_alone_and_val_one_of_them(mixture: Path) -> None:
    (mixture / "sets.toml").write_text('[some]\nsplit = "train"\n\n[some-val]\npath = "val/some"\nsplit = "val"\n')
    train, val = survey_all([get_split(mixture, name, FOUR) for name in ("train", "val")])
    assert pair_errors(train, val) == []  # one class, and what it is not
    write_set(mixture / "val" / "some", {"9": SOME * (SOME == 255)})
    (error,) = pair_errors(train, *survey_all([get_split(mixture, "val", FOUR)]))
    assert "the masks of the split 'val' show no class of 4 classes" in str(error)
    write_set(mixture / "some", {"4": np.array([[0, 1, 3]], np.uint8)})
    errors = class_errors(survey_all([get_split(mixture, "train", FOUR)])[0])
    for error, name in zip(errors, (NAMES[1], NAMES[3]), strict=True):
        assert str(error).endswith(f"4.png: it shows {name}, which {mixture / 'some' / 'labelled.txt'} does not name")


def score(runtime: Runtime, split: Split) -> np.ndarray:
    segmenter = Segmenter(runtime)
    maps = predictions(segmenter, split, Options(side=96))
    return frame_counts(maps, split, network_classes(segmenter.manifest.labels.names, split))


def test_a_class_is_scored_on_frames_that_label_it(runtime: Runtime, tmp_path: Path) -> None:
    """Against IoUs that are counted here: on frames of both sets for the class that both label, on the full ones else."""
    labels = runtime.manifest.labels
    rng = np.random.default_rng(0)
    blocks = [np.kron(rng.choice([0, 1, 2, 3, 255], (6, 6)), np.ones((16, 16))).astype(np.uint8) for _ in range(4)]
    some = [np.where((ids == 2) | (ids == 255), ids, 0).astype(np.uint8) for ids in blocks[2:]]
    write_set(tmp_path / "full", {str(at): ids for at, ids in enumerate(blocks[:2])})
    write_set(tmp_path / "some", {str(at): ids for at, ids in enumerate(some)}, "2")
    (tmp_path / "sets.toml").write_text('[full]\nsplit = "val"\n[some]\nsplit = "val"\n')
    split = get_split(tmp_path, "val", labels)
    counts = score(runtime, split)
    segmenter = Segmenter(runtime)
    maps = [segmenter(split.file(index), Options(side=96)).class_map for index in range(4)]
    truths = [*blocks[:2], *some]
    expected = []
    for class_id in range(4):
        used = range(4) if class_id == 2 else range(2)
        hits = sum(int(((truths[at] == class_id) & (maps[at] == class_id)).sum()) for at in used)
        union = sum(int((((truths[at] == class_id) | (maps[at] == class_id)) & (truths[at] != 255)).sum()) for at in used)
        expected.append(hits / union)
    matrix = ConfusionMatrix(counts.sum(0))
    np.testing.assert_allclose(matrix.iou, [*expected, np.nan])
    assert matrix.mean_iou == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(ConfusionMatrix(only(counts, [2]).sum(0)).iou[2], expected[2])
    facts = score_entry(counts, [*labels.names, "another class"])
    assert facts["frames"] == [2, 2, 4, 2, 0]
    assert "another class" not in facts.get("predicted_only", {})
    (tmp_path / "sets.toml").write_text('[some]\nsplit = "val"\n')
    alone = get_split(tmp_path, "val", labels)
    assert np.isnan(ConfusionMatrix(score(runtime, alone).sum(0)).iou[[0, 1, 3, 4]]).all()
