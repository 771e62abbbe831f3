"""The model card, from the file's facts alone, and its header as the Hub's own reader sees it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from model.weights_file import Weights, find_weights, load_weights, save_weights
from tests.support.classes import NAMES
from training.commands.export import main
from training.learning.checkpoint import Progress
from training.publishing.card import card, write_card
from training.publishing.card_sections import literal, table_row
from training.scoring.intervals import score_entry
from training.scoring.metrics import ConfusionMatrix


@pytest.mark.parametrize("name", ["voc-fcn8s-mobilenet-v2", "camvid-fcn8s-mobilenet-edgetpu"])
def test_the_published_cards_are_those_of_their_files(name: str) -> None:
    path = find_weights(name)
    assert card(load_weights(path)) == path.with_suffix(".md").read_text()


def test_what_not_every_file_has_is_said_where_it_is_there(narrow: Weights) -> None:
    """The scale of scenes, the epoch from which a finished training went on, and what few frames make of a change."""
    plain = card(narrow)
    assert "# narrow\n" in plain
    assert "| data | not named |" in plain
    assert "It learned from scenes" not in plain
    assert "went on" not in plain
    change = {"mean_iou": 0.068, "mean_iou_95": [0.067, 0.069], "frames": 20, "without_few": "without bench (4): +0.002"}
    training = {"against_start": change} | Progress(epoch=9, went_on_from=[2, 5]).to_dict()
    preprocessing = replace(narrow.manifest.preprocessing, gsd=0.05)
    text = card(replace(narrow, manifest=replace(narrow.manifest, preprocessing=preprocessing, training=training)))
    assert "It learned from scenes whose pixels measure 0.05 m on the ground; scenes are scaled to that." in text
    assert "| went on from epoch | 2, 5 |" in text
    assert "mean IoU +0.068 (95% interval 0.067 to 0.069), on 20 frames; without bench (4): +0.002 |" in text


def test_cells_and_names_are_shown_letter_by_letter() -> None:
    for cell, row in (("x|y", r"| x\|y | b |"), ("x\\|y", r"| x\\\|y | b |"), ("x\ny", "| x y | b |"), ("x\\", "| x\\ | b |")):
        assert table_row(cell, "b") == row
    assert literal("traffic_light") == "traffic_light"
    assert literal("_background_") == r"\_background\_"
    assert literal("$x$ *a* `b` <i> [c]") == r"\$x\$ \*a\* \`b\` \<i> \[c]"


def test_calibrations_say_how_they_were_checked(narrow: Weights) -> None:
    facts = {"temperature": 1.25, "ece_before": 0.02, "ece_after": 0.01, "split": "val"}
    new, old = facts | {"frames": 9, "blocks": 4}, facts | {"fitted_frames": 5, "checked_frames": 4}
    training = {"calibration": old, "calibration_int8": new}
    text = card(replace(narrow, manifest=replace(narrow.manifest, training=training)))
    assert "| int8 | 1.250 | 9 of val | 4 blocks | 0.0200 | 0.0100 |" in text
    assert "| float32 | 1.250 | 9 of val | every second | 0.0200 | 0.0100 |" in text
    assert "They do not carry over to others, such as other streets or another camera" in text


def test_bars_in_names_leave_the_tables_whole(narrow: Weights, tmp_path: Path) -> None:
    """Of classes, of a data set and of files."""
    path = tmp_path / "my leaves|2.safetensors"
    names = ["background", "leaf|stem", "square", "triangle"]
    score = ConfusionMatrix(np.array([[75, 25, 0, 0], [0, 50, 0, 0], [0, 0, 30, 0], [0] * 4])).scores() | {"classes": names}
    training = {"data": "leaves|old", "start": "a|b.pth"}
    manifest = replace(narrow.manifest, training=training, scores={"leaves|old, val": score})
    save_weights(path, narrow.tensors, manifest)
    write_card(path)
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {"| leaf\\|stem | 0.667 |", "| triangle | none |", "| **frequency weighted IoU** | **0.769** |"} <= set(rows)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "(my%20leaves%7C2.png)" in text
    assert path.with_suffix(".png").is_file()


def test_a_card_says_that_a_score_is_rough_and_which_classes_its_mean_leaves_out(narrow: Weights) -> None:
    counts = np.zeros((12, 4, 4), np.int64)
    counts[:, 0, 0], counts[:, 1, 1], counts[:6, 1, 2] = 50, 20, 30
    facts = score_entry(counts, NAMES) | {"conditions": "x"}
    text = card(replace(narrow, manifest=replace(narrow.manifest, scores={"shapes, val": facts})))
    low, high = facts["mean_iou_95"]
    assert f"shapes, val: A rough score, over 12 frames: on as many others of this kind it may well be {low:.2f}" in text
    assert f"| 95% interval of the mean IoU | {low:.3f} to {high:.3f} |" in text
    assert "shown by no label, so left out of the means: square (180 pixels)" in text
    row = f"that no label shows counted as 0 | {facts['mean_iou_with_predicted']:.3f} |"
    assert row in text


SCORE = {"classes": ["a"], "iou": [0.5], "mean_iou": 0.5, "pixel_accuracy": 0.75, "mean_accuracy": None}


def scored(narrow: Weights, license: str = "Apache-2.0") -> Weights:
    return replace(narrow, manifest=replace(narrow.manifest, scores={"Leaves: north, val": SCORE}, license=license))


@pytest.mark.long
def test_the_folder_has_the_card_and_every_file_of_the_weights(narrow_file: Path, tmp_path: Path) -> None:
    master = Path(shutil.copy(narrow_file, tmp_path / "leaves.safetensors"))
    assert main(["--weights", str(master), "--hub", str(tmp_path / "hub")]) == 0
    names = {path.name for path in (tmp_path / "hub").iterdir()}
    assert {"README.md", "leaves.safetensors", "leaves.onnx"} <= names
    assert load_weights(tmp_path / "hub" / "leaves.safetensors").sha256 == load_weights(master).sha256
    assert ModelCard.load(tmp_path / "hub" / "README.md").data.pipeline_tag == "image-segmentation"
    export = master.with_suffix(".onnx").stat().st_mtime_ns
    assert main(["--weights", str(master), "--hub", str(tmp_path / "second")]) == 0
    assert (tmp_path / "second" / "leaves.onnx").is_file()
    assert master.with_suffix(".onnx").stat().st_mtime_ns == export  # it is of this master, so it stays
    assert main(["--weights", str(master), "--hub", str(tmp_path)]) == 2


def test_the_header_states_the_recorded_scores(narrow: Weights) -> None:
    data = ModelCard(card(scored(narrow))).data
    assert (data.license, data.library_name) == ("apache-2.0", "fcn-segment")
    assert data.eval_results is not None
    assert [(r.dataset_name, r.dataset_type, r.metric_type, r.metric_value) for r in data.eval_results] == [
        ("Leaves: north, val", "leaves-north", "mean_iou", 0.5),
        ("Leaves: north, val", "leaves-north", "pixel_accuracy", 0.75),
    ]


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        ("CC-BY-NC-4.0 (non-commercial)", ("cc-by-nc-4.0", None)),
        ('my own: "all" rights', ("other", "my-own-all-rights")),
    ],
)
def test_a_licence_is_the_hub_s_or_a_name_of_its_own(narrow: Weights, license: str, expected: tuple[str, str | None]) -> None:
    data = ModelCard(card(scored(narrow, license))).data.to_dict()
    assert (data["license"], data.get("license_name")) == expected
