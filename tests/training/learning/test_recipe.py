"""Recipes from TOML files and flags."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import training
from tests.support.model.reference.pairs import PAIRS
from training.learning.recipe import Recipe, RecipeError, make_recipe, parse_changes

RECIPES = sorted(Path(training.__file__).parent.joinpath("recipes").glob("*.toml"))


def test_the_recipes_are_shipped() -> None:
    assert [path.stem for path in RECIPES] == [
        "camvid-fcn8s-mobilenet-edgetpu",
        "camvid-fcn8s-mobilenet-v2",
        "camvid-stage1",
        "demo",
        "fcn16s-vgg16-learned",
        "fcn16s-vgg16",
        "fcn32s-resnet18",
        "fcn32s-vgg16",
        "fcn8s-vgg16-at-once",
        "fcn8s-vgg16-conv1x1-shared",
        "fcn8s-vgg16-conv1x1",
        "fcn8s-vgg16",
        "finetune",
        "voc-fcn8s-mobilenet-v2",
        "voc-start",
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_holds_what_its_file_says(path: Path) -> None:
    recipe = make_recipe(path, {})
    for name, value in tomllib.loads(path.read_text()).items():
        assert getattr(recipe, name) == (tuple(value) if isinstance(value, list) else value)
    assert recipe.architecture(21).num_classes == 21


@pytest.mark.parametrize(("variant", "name"), [("fcn8s", ""), ("fcn16s", " 16s"), ("fcn32s", " 32s")])
def test_the_recipe_of_a_source_without_dropout_has_its_network(variant: str, name: str) -> None:
    (path,) = [path for path in RECIPES if path.stem == "fcn8s-vgg16-conv1x1-shared"]
    architecture = make_recipe(path, {"variant": variant}).architecture(12)
    assert architecture == PAIRS[f"pointwise{name}"].ours().architecture
    assert architecture.dropout == 0.0


def test_without_a_file_the_defaults_hold() -> None:
    assert make_recipe(None, {}) == Recipe()


def test_changes_beat_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 7\nbatch = 3\ncrop = [64, 96]\n")
    recipe = make_recipe(path, {"batch": 5})
    assert (recipe.epochs, recipe.batch, recipe.crop) == (7, 5, (64, 96))


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 7\nlearningrate = 1\n")
    with pytest.raises(RecipeError, match=r"recipe\.toml: unknown 'learningrate'; a recipe has .*learning_rate"):
        make_recipe(path, {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batch = 0", "batch must be greater than or equal to 1, got 0"),
        ("epochs = -1", "epochs must be greater than or equal to 0, got -1"),
        ("scales = [0.0, 1.0]", "scales.0 must be greater than 0, got 0.0"),
        ("scales = [2.0, 1.0]", "scales must be low and high, in this order, got (2.0, 1.0)"),
        ("class_weights = 'mean'", "class_weights must be 'none' or 'median', got 'mean'"),
        ("autocast = 'float8'", "autocast must be 'auto', 'none', 'bfloat16' or 'float16', got 'float8'"),
        ("flip = 2.0", "flip must be less than or equal to 1, got 2.0"),
        ("ema = 1.5", "ema must be less than or equal to 1, got 1.5"),
        ("ema = nan", "ema must be a finite number, got nan"),
        ("crop = [0, 64]", "crop.0 must be greater than or equal to 1, got 0"),
        ("unlabelled_border = -1", "unlabelled_border must be greater than or equal to 0, got -1"),
        ("teacher_scales = []", "teacher_scales must have at least 1 item"),
        ("batch_loss = 'max'", "batch_loss must be 'mean' or 'sum', got 'max'"),
        ("optimizer = 'lion'", "optimizer must be 'adamw' or 'sgd', got 'lion'"),
        ("accumulate = 9", "accumulate must be 1 to the batch of 8, got 9"),
        ("batch = 'eight'", "batch must be a valid integer, got 'eight'"),
        ("batch = 8.0", "batch must be a valid integer, got 8.0"),
        ("seed = true", "seed must be a valid integer, got True"),
        ("crop = 64", "crop must be a valid tuple, got 64"),
        ("crop = [64]", "crop.1 must be given"),
        ("start_rows = [1.5]", "start_rows.0 must be a valid integer, got 1.5"),
        ("start_scores = [[0], [1, -2]]", "start_scores.1.1 must be greater than or equal to -1, got -2"),
        ("start_scores = [[0], []]", "start_scores.1 must have at least 1 item"),
        ("scales = [1.0]", "scales.1 must be given"),
        ("batch = 0\nseed = -1", "recipe.toml: seed must be greater than or equal to 0, got -1"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(line)
    with pytest.raises(RecipeError) as error_info:
        make_recipe(path, {})
    assert str(error_info.value).startswith(f"{path}: ")
    assert message in str(error_info.value)


def test_a_wrong_change_is_not_laid_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("batch = 3\n")
    with pytest.raises(RecipeError, match=r"^changes: batch must be greater"):
        make_recipe(path, {"batch": 0})


def test_a_file_that_is_not_toml_is_a_recipe_error(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = ")
    with pytest.raises(RecipeError, match=r"recipe\.toml is not a recipe"):
        make_recipe(path, {})


def test_a_missing_file_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.toml is not a recipe"):
        make_recipe(tmp_path / "nowhere.toml", {})


def test_its_dictionary_makes_it_again() -> None:
    recipe = make_recipe(RECIPES[0], {"seed": 3})
    assert Recipe(**recipe.to_dict()) == recipe


def test_its_dictionary_is_what_checkpoints_compare() -> None:
    facts = make_recipe(None, {"crop": [64, 96], "learning_rate": 1}).to_dict()
    assert list(facts)[:2] == ["variant", "backbone"]
    assert list(facts)[-4:] == ["side", "tile", "plan", "seed"]
    assert (facts["crop"], facts["start_rows"]) == ((64, 96), ())
    assert (facts["teacher_scales"], facts["learning_rate"], facts["epochs"]) == ((1.0,), 1, 60)


def test_changes_are_written_as_in_toml() -> None:
    changes = parse_changes(["ema=0.9", "ema=0.5", "scales=[1.0, 2.0]", "class_weights='median'", "freeze_batch_norm = true"])
    recipe = make_recipe(None, changes)
    assert (recipe.ema, recipe.scales, recipe.class_weights, recipe.freeze_batch_norm) == (0.5, (1.0, 2.0), "median", True)


@pytest.mark.parametrize("text", ["ema", "ema=", "head=fc", "ema=1\n=2"])
def test_a_change_that_is_no_toml_is_shown(text: str) -> None:
    with pytest.raises(RecipeError, match="a change is written as in TOML"):
        parse_changes([text])


def test_an_unknown_name_is_told_wherever_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"changes: unknown 'learnin_rate'"):
        make_recipe(None, parse_changes(["learnin_rate=1e-3"]))
