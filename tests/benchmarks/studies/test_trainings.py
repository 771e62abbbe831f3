"""Rows of trainings: run once, told as their weights files tell; and the tables that are published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.studies import accuracy, few, models
from benchmarks.studies.trainings import ROOT, Table, markdown_table, read_table, results, run_rows
from model.weights_file import load_weights
from tests.support.training.runs import TINY_RECIPE
from training.commands.train_arguments import FLAGS, parser
from training.data.demo import write_demo_data
from training.learning.recipe import make_recipe, parse_changes


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Two tiny rows, the second of which starts from the first."""
    write_demo_data(tmp_path / "data", train=8, val=2)
    (tmp_path / "recipe.toml").write_text(TINY_RECIPE)
    common = f"--data {tmp_path / 'data'} --recipe {tmp_path / 'recipe.toml'} --set epochs=1 --device cpu"
    rows = """
[[rows]]
name = "first"
what = "the first"
arguments = ""

[[rows]]
name = "second"
what = "the second"
arguments = "--start {out}/first/first.safetensors --set skip_width=4"
note = "from the first"
"""
    path = tmp_path / "table.toml"
    path.write_text(f'common = "{common}"\n{rows}')
    return read_table(path)


@pytest.mark.long
def test_rows_are_run_once_and_told_by_their_files(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    run_rows(table, out, ["first"], threads=1)
    assert [row["name"] for row in results(table, out)] == ["first"]
    written = (out / "first" / "first.safetensors").stat().st_mtime_ns
    run_rows(table, out, [], threads=1)
    assert (out / "first" / "first.safetensors").stat().st_mtime_ns == written
    first, second = results(table, out)
    manifest = load_weights(out / "second" / "second.safetensors").manifest
    (score,) = manifest.scores.values()
    assert second["mean_iou"] == score["mean_iou"]
    assert second["architecture"]["skip_width"] == 4
    assert (first["start"], second["start"]) == ("none", "first.safetensors")
    assert "--set skip_width=4" in second["command"]
    assert str(out / "first" / "first.safetensors") in second["command"]


@pytest.mark.parametrize("program", [accuracy, few, models])
def test_every_published_row_is_a_recipe_that_builds(program: object) -> None:
    table = read_table(program.TABLE)  # type: ignore[attr-defined]
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names) <= 12
    for row in table.rows:
        args = parser().parse_args(table.command(row, Path("runs"))[1:])
        flags = {name: value for name in FLAGS if (value := getattr(args, name)) is not None}
        recipe = make_recipe(ROOT / args.recipe, parse_changes(args.set) | flags)
        assert recipe.architecture(11).num_classes == 11


def test_ablation_rows_change_one_thing_each() -> None:
    table = read_table(accuracy.TABLE)
    arguments = {row.name: parser().parse_args([*table.common, *row.arguments]) for row in table.rows}
    for row in table.rows[1:]:
        start, args = arguments[row.of or table.rows[0].name], arguments[row.name]
        changed = {name for name, value in vars(args).items() if value != getattr(start, name)}
        added = [change for change in args.set if change not in start.set]
        assert len(changed) == 1, row.name
        assert len(added) <= 1, row.name


@pytest.mark.long
def test_a_row_of_several_seeds_has_the_mean_of_their_scores(table: Table, tmp_path: Path) -> None:
    several, out = replace(table, rows=table.rows[:1], seeds=2), tmp_path / "runs"
    run_rows(several, out, [], threads=1)
    (result,) = results(several, out)
    manifests = [load_weights(out / "first" / f"seed-{seed}" / "first.safetensors").manifest for seed in (0, 1)]
    scores = [score for manifest in manifests for score in manifest.scores.values()]
    assert result["seeds"] == [score["mean_iou"] for score in scores]
    assert result["mean_iou"] == pytest.approx(sum(result["seeds"]) / 2, abs=1e-6)
    for index, label in enumerate(scores[0]["classes"]):
        values = [score["iou"][index] for score in scores]
        assert result["iou"][label] == (None if None in values else pytest.approx(sum(values) / 2, abs=1e-6))
    (average,) = load_weights(out / "first" / "first-average.safetensors").manifest.scores.values()
    assert result["average"] == average["mean_iou"]
    assert "--seeds 2" in result["command"]


def test_a_markdown_table_has_a_rule_under_its_head() -> None:
    assert markdown_table(["a", "b"], [(1, "x"), (2, "y")]) == "| a | b |\n|---|---|\n| 1 | x |\n| 2 | y |"
