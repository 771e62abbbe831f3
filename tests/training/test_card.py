"""The model card, from the file's facts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.metrics import ConfusionMatrix
from model.weights_file import Manifest, Weights, load_weights, save_weights
from tests.conftest import NAMES, narrow_net
from training.card import CardFacts, card, commit, machine, training_facts, write_card
from training.checkpoint import Progress
from training.datasets import Split, get_dataset, read_labels
from training.recipe import Recipe

COMMAND = "fcn-train --data 'my data' --out runs/a"


@pytest.fixture
def facts(shapes: Path, shapes_split: Split) -> CardFacts:
    validation = get_dataset(shapes, "val", read_labels(str(shapes / "classes.json")))
    recipe, progress = Recipe(seed=5, learning_rate=0.125), Progress(epoch=2, step=40, seconds=5400, skipped=3)
    note = "Photographs are not redistributed."
    return CardFacts(shapes_split, validation, recipe, progress, COMMAND, "shapes", "/some/where/start.pth", [note], "abc123")


@pytest.fixture
def written(narrow: Weights, facts: CardFacts, tmp_path: Path) -> Weights:
    """A weights file with these facts and scores, one of which is missing."""
    matrix = ConfusionMatrix(len(NAMES))
    matrix.counts[0, 0], matrix.counts[0, 1], matrix.counts[1, 1], matrix.counts[2, 2] = 75, 25, 50, 30
    scores = {"shapes, val": matrix.scores() | {"classes": NAMES, "conditions": "measured at side 96"}}
    old = narrow.manifest
    manifest = Manifest(old.architecture, old.labels, old.preprocessing, "Apache-2.0", training_facts(facts), scores)
    save_weights(tmp_path / "shapes-net.safetensors", narrow_net(), manifest)
    return load_weights(tmp_path / "shapes-net.safetensors")


def test_the_training_facts_are_the_contracts(facts: CardFacts) -> None:
    told = training_facts(facts)
    expected: dict[str, Any] = {
        "data": "shapes",
        "start": "start.pth",
        "recipe": facts.recipe.to_dict(),
        "seed": 5,
        "steps": 40,
        "skipped_steps": 3,
        "hours": 1.5,
        "machine": machine(),
        "commit": "abc123",
        "command": COMMAND,
        "notes": ["Photographs are not redistributed."],
    }
    assert {name: told[name] for name in expected} == expected
    assert told["splits"] == {
        "train": {"frames": 16, "sha256": facts.split.digest},
        "val": {"frames": 4, "sha256": facts.validation.digest},
    }


def test_the_card_holds_scores_command_and_digests(written: Weights, facts: CardFacts) -> None:
    text = card(written)
    for part in (
        "# shapes-net\n",
        "FCN-8s on mobilenet_v2, output stride 16, 4 classes. Licence: Apache-2.0.",
        "Photographs are not redistributed.",
        "### shapes, val\n",
        "| background | 0.750 |",
        "| circle | 0.667 |",
        "| square | 1.000 |",
        "| triangle | none |",
        "| **mean IoU** | **0.806** |",
        "| **pixel accuracy** | **0.861** |",
        "| **mean accuracy** | **0.917** |",
        "| **frequency weighted IoU** | **0.769** |",
        "measured at side 96",
        f"```sh\n{COMMAND}\n```",
        f"train 16 frames (sha256 of the list {facts.split.digest[:12]})",
        f"val 4 frames (sha256 of the list {facts.validation.digest[:12]})",
        "| hours | 1.5 |",
        f"| machine | {machine()} |",
        "| commit | abc123 |",
        "learning_rate 0.125",
        "0 background, 1 circle, 2 square, 3 triangle",
        "advised longer side 64 to 128",
        f"sha256 `{written.sha256}`",
    ):
        assert part in text, part


def test_the_card_is_written_beside_the_file(written: Weights, tmp_path: Path) -> None:
    write_card(written, tmp_path / "shapes-net.md")
    assert (tmp_path / "shapes-net.md").read_text() == card(written)


def test_a_file_without_facts_has_a_card_too(narrow: Weights) -> None:
    assert "# narrow\n" in card(narrow)


def test_the_commit_is_a_short_hash_or_unknown() -> None:
    assert commit() == "unknown" or set(commit()) <= set("0123456789abcdef")


def test_the_machine_is_one_line() -> None:
    assert "threads" in machine()
    assert "\n" not in machine()
