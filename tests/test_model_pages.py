"""What `docs/models.md` and `docs/accuracy.md` say of networks, recipes and published weights is what these are."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from docs import scores
from model.architecture import Architecture
from model.networks.builder import build_network
from tests.support.checkout import ROOT
from tests.support.model.reference.pairs import PAIRS
from training.commands import evaluate_arguments
from training.commands.train_arguments import parser
from training.learning.recipe import make_recipe

MODELS, ACCURACY = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("models", "accuracy"))
RECIPES = sorted((ROOT / "training" / "recipes").glob("*.toml"))
MEASURED = json.loads((ROOT / "benchmarks" / "studies" / "models.json").read_text())["rows"]


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: row["name"])
def test_the_parameters_that_were_measured_are_the_networks(row: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = build_network(Architecture.from_dict(row["architecture"]))
    assert sum(parameter.numel() for parameter in network.parameters()) == row["parameters"]
    assert f"| {row['parameters'] / 1e6:.2f} M | {row['gflops']:.1f} |" in MODELS


def test_the_page_states_the_parameters_that_the_comparisons_with_the_sources_check() -> None:
    for pair in PAIRS.values():
        assert f"| {pair.classes} | {pair.parameters:,} |" in MODELS


def test_the_page_names_every_recipe_with_its_source() -> None:
    for path in RECIPES:
        first = path.read_text().splitlines()[0]
        assert first.startswith("# Source: "), path
        assert f"| `{path.stem}` | {first.removeprefix('# Source: ').removesuffix('.')} |" in MODELS


def test_a_recipe_whose_network_is_a_source_s_is_not_called_ours() -> None:
    compared = [Architecture(num_classes=2, **pair.options) for pair in PAIRS.values()]
    architectures = {path: make_recipe(path, {}).architecture(2) for path in RECIPES}
    recipes = [path for path, architecture in architectures.items() if architecture in compared]
    assert len(recipes) == len(compared) - 2  # two are made by --variant
    fixed = [network for network in compared if network.decoder != "shared"]
    assert all(network in architectures.values() for network in fixed)
    (shared,) = [architecture for architecture in architectures.values() if architecture.decoder == "shared"]
    assert all(replace(shared, variant=network.variant) in compared for network in compared if network not in fixed)
    assert [path.stem for path in recipes if path.read_text().startswith("# Source: ours")] == []


def test_the_published_scores_are_the_weights_own() -> None:
    assert scores.page(ACCURACY) == ACCURACY, f"run python -m {scores.__name__}"
    assert all(f"| {name} | {frames} |" in ACCURACY for name, frames in scores.PUBLISHED.items())


GONE = {"--group", "--shifts"}
"""Options of the commits that files of figures name."""


def commands_in(value: Any) -> Iterator[str]:
    """The commands that a JSON document has anywhere."""
    if isinstance(value, str) and value.startswith(("fcn-train ", "fcn-evaluate ")):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from commands_in(each)


def test_the_commands_of_the_page_and_of_the_files_of_figures_can_be_parsed() -> None:
    commands = [line for line in ACCURACY.splitlines() if line.startswith("fcn-evaluate ")]
    for path in (ROOT / "benchmarks" / "studies").glob("*.json"):
        commands += commands_in(json.loads(path.read_text()))
    assert len(commands) > 20
    recorded = set()
    for name, *words in map(shlex.split, commands):
        if GONE & set(words):
            continue
        if name == "fcn-train":
            assert (ROOT / parser().parse_args(words).recipe).is_file()
        else:
            args = evaluate_arguments.parser().parse_args(words)
            evaluate_arguments.check_arguments(args)
            recorded.add(args.record)
    assert set(scores.PUBLISHED.values()) <= recorded
