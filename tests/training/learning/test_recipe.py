"""Recipes from TOML files and flags."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import training
from tests.support.model.reference.pairs import PAIRS
from training.learning.recipe import RecipeError, make_recipe, parse_changes

RECIPES = sorted(Path(training.__file__).parent.joinpath("recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_holds_what_its_file_says(path: Path) -> None:
    recipe = make_recipe(path, {})
    for name, value in tomllib.loads(path.read_text()).items():
        assert getattr(recipe, name) == (tuple(value) if isinstance(value, list) else value)
    assert recipe.architecture(21).num_classes == 21


@pytest.mark.parametrize(("variant", "name"), [("fcn8s", ""), ("fcn32s", " 32s")])
def test_the_recipe_of_a_source_without_dropout_has_its_network(variant: str, name: str) -> None:
    (path,) = [path for path in RECIPES if path.stem == "fcn8s-vgg16-conv1x1-shared"]
    architecture = make_recipe(path, {"variant": variant}).architecture(12)
    assert architecture == PAIRS[f"pointwise{name}"].ours().architecture
    assert architecture.dropout == 0.0


def test_changes_beat_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 7\nbatch = 3\ncrop = [64, 96]\n")
    recipe = make_recipe(path, parse_changes(["ema=0.9", "ema=0.5", "scales=[1.0, 2.0]", "batch=5", "head = 'fc'"]))
    assert (recipe.epochs, recipe.batch, recipe.crop) == (7, 5, (64, 96))
    assert (recipe.ema, recipe.scales, recipe.head) == (0.5, (1.0, 2.0), "fc")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batch = 0", "batch must be greater than or equal to 1, got 0"),
        ("scales = [2.0, 1.0]", "scales must be low and high, in this order, got (2.0, 1.0)"),
        ("class_weights = 'mean'", "class_weights must be 'none' or 'median', got 'mean'"),
        ("ema = nan", "ema must be a finite number, got nan"),
        ("accumulate = 9", "accumulate must be 1 to the batch of 8, got 9"),
        ("seed = true", "seed must be a valid integer, got True"),
        ("crop = [64]", "crop.1 must be given"),
        ("start_scores = [[0], [1, -2]]", "start_scores.1.1 must be greater than or equal to -1, got -2"),
        ("learningrate = 1", "unknown 'learningrate'; a recipe has "),
        ("epochs = ", " is not a recipe"),
        ("batch = 0\nseed = -1", "recipe.toml: seed must be greater than or equal to 0, got -1"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(line)
    with pytest.raises(RecipeError) as error_info:
        make_recipe(path, {})
    assert str(error_info.value).startswith(str(path))
    assert message in str(error_info.value)


def test_a_wrong_change_is_not_laid_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("batch = 3\n")
    with pytest.raises(RecipeError, match=r"^changes: batch must be greater"):
        make_recipe(path, parse_changes(["batch=0"]))
    with pytest.raises(RecipeError, match="a change is written as in TOML"):
        parse_changes(["head=fc"])
