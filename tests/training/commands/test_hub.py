"""`fcn-export --hub`: the folder, and the card's header as the Hub's own reader sees it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from model.weights_file import Weights, load_weights
from training.commands.export import main
from training.publishing.card import card

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
