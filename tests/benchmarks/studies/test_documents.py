"""The published pages say what was measured, and what was measured can be found again where it is cheap to do so."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.results import FOLDER, page
from benchmarks.main import BENCHES
from benchmarks.studies import documents, models
from benchmarks.studies.evaluations import read_evaluations
from benchmarks.studies.trainings import ROOT, read_table
from model.architecture import Architecture
from model.weights_file import find_weights, load_weights
from tests.support.model.reference.pairs import PAIRS
from training.commands import evaluate_arguments
from training.commands.train_arguments import parser
from training.learning.recipe import make_recipe

DOCS = ROOT / "docs"


def rows() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = documents.load("models")["rows"]
    return entries


def test_the_pages_are_made_of_the_measurements() -> None:
    assert (DOCS / "models.md").read_text() == documents.models_page()
    assert (DOCS / "accuracy.md").read_text() == documents.accuracy_page()


def test_results_shows_all_that_is_kept() -> None:
    assert (FOLDER.parent / "RESULTS.md").read_text() == page(list(BENCHES), FOLDER)


def test_every_row_of_the_tables_was_measured() -> None:
    assert [row["name"] for row in rows()] == [row.name for row in read_table(models.TABLE).rows]
    ablation = json.loads((DOCS / "accuracy.json").read_text())
    table = read_table(documents.HERE / "accuracy.toml")
    assert [row["name"] for row in ablation] == [row.name for row in table.rows]
    assert len(ablation) <= 12
    assert {len(row["seeds"]) for row in ablation} == {table.seeds}
    assert max(row["minutes"] for row in [*ablation, *rows()]) <= 20


def test_every_comparison_was_measured_by_its_command() -> None:
    measured = {row["name"]: row["command"] for row in documents.load("evaluations")}
    assert measured == {row.name: shlex.join(row.command) for row in read_evaluations(documents.HERE / "evaluations.toml").rows}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_parameters_and_operations_are_the_networks(row: dict[str, Any]) -> None:
    architecture = Architecture.from_dict(row["architecture"])
    assert models.parameters(architecture) == row["parameters"]
    assert models.gflops(architecture) == pytest.approx(row["gflops"], rel=0.02)


def test_the_paper_s_network_is_of_the_paper_s_size() -> None:
    paper = Architecture("fcn8s", "vgg16", 21, head_width=4096, decoder="padded")
    assert models.parameters(paper) == 134_489_759
    assert "134,489,759" in (DOCS / "models.md").read_text()


def test_the_page_states_the_parameters_that_the_comparisons_with_the_sources_check() -> None:
    text = (DOCS / "models.md").read_text()
    for pair in PAIRS.values():
        assert f"| {pair.classes} | {pair.parameters:,} |" in text


def test_the_page_names_the_networks_that_are_not_here() -> None:
    text = (DOCS / "models.md").read_text()
    for name in ("FCN-AlexNet", "FCN-GoogLeNet", "`fcn_resnet50`", "`fcn_resnet101`"):
        assert name in text.partition("Not here: ")[2].partition(". ")[0].replace("\n", " ")
    assert "Every network of the literature" not in text


def test_a_recipe_whose_network_is_a_source_s_is_not_called_ours() -> None:
    compared = [Architecture(num_classes=2, **pair.options) for pair in PAIRS.values()]
    architectures = {path: make_recipe(path, {}).architecture(2) for path in documents.RECIPES}
    recipes = [path for path, architecture in architectures.items() if architecture in compared]
    assert len(recipes) == len(compared) - 2  # two are made by --variant
    fixed = [network for network in compared if network.decoder != "shared"]
    assert all(network in architectures.values() for network in fixed)
    (shared,) = [architecture for architecture in architectures.values() if architecture.decoder == "shared"]
    assert all(replace(shared, variant=network.variant) in compared for network in compared if network not in fixed)
    assert [path.stem for path in recipes if documents.source(path).startswith("ours")] == []


def test_a_network_that_was_added_after_the_measurement_shows_no_time() -> None:
    measured = {row["name"]: "ms" in row for row in rows()}
    lines = (DOCS / "models.md").read_text().splitlines()
    for row in read_table(models.TABLE).rows:
        (line,) = [line for line in lines if line.startswith(f"| {row.what} |") and line.count("|") == 6]
        assert ("| not measured |" in line) != measured[row.name]


def test_a_measurement_needs_no_trained_weights() -> None:
    architecture = Architecture("fcn8s", "mobilenet_v2", 11, 16, head_width=8, width=0.1)
    document = models.measure([{"name": "narrow", "mean_iou": 0.5, "architecture": architecture.to_dict()}])
    (row,) = document["rows"]
    assert (row["name"], row["mean_iou"], row["parameters"]) == ("narrow", 0.5, models.parameters(architecture))
    assert 0 < row["ms_low"] <= row["ms"] <= row["ms_high"]
    assert document["dtype"] in ("float32", "bfloat16")


def test_networks_without_a_score_show_none() -> None:
    text = (DOCS / "models.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| FCN-") and line.count("|") == 6]
    has_score = [row.has_score for row in read_table(models.TABLE).rows]
    assert [line.endswith(f"| {documents.CHECKED} |") for line in lines] == [not one for one in has_score]
    assert "0.027" not in text


def test_every_recipe_says_its_source(tmp_path: Path) -> None:
    text = (DOCS / "models.md").read_text()
    for path in documents.RECIPES:
        assert f"| `{path.stem}` | {documents.source(path)} |" in text
    (tmp_path / "new.toml").write_text("epochs = 3\n")
    with pytest.raises(ValueError, match=r"new.toml must begin with the line '# Source: ', got 'epochs = 3'"):
        documents.source(tmp_path / "new.toml")


def test_the_page_s_evaluations_are_commands() -> None:
    lines = [line for line in (DOCS / "accuracy.md").read_text().splitlines() if line.startswith("fcn-evaluate ")]
    recorded = {evaluate_arguments.parser().parse_args(shlex.split(line)[1:]).record for line in lines}
    assert set(documents.PUBLISHED.values()) <= recorded


def test_the_published_scores_are_the_weights_own() -> None:
    text = (DOCS / "accuracy.md").read_text()
    for name, score in documents.PUBLISHED.items():
        measured = load_weights(find_weights(name)).manifest.scores[score]
        assert f"| {name} | {score} | {len(measured['classes'])} | {measured['mean_iou']:.3f} |" in text
        card = (ROOT / "weights" / f"{name}.md").read_text()
        assert f"**{measured['mean_iou']:.3f}**" in card


def test_the_commands_of_the_pages_can_be_parsed() -> None:
    commands = [line for name in ("models", "accuracy") for line in (DOCS / f"{name}.md").read_text().splitlines()]
    trainings = [shlex.split(line) for line in commands if line.startswith("fcn-train ")]
    assert len(trainings) == sum(row.has_score for row in read_table(models.TABLE).rows) + 7
    for words in trainings:
        assert (ROOT / parser().parse_args(words[1:]).recipe).is_file()


@pytest.mark.parametrize("name", ["models", "accuracy", "performance", "train-your-own"])
def test_links_and_pictures_are_there(name: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", (DOCS / f"{name}.md").read_text())
    assert targets
    for target in targets:
        path = (DOCS / target).resolve()
        assert path.is_file(), target
        assert path.stat().st_size > 0, target
