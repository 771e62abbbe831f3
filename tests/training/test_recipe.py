"""Recipes from TOML files and flags."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import training
from training.recipe import Recipe, RecipeError, make_recipe, parse_changes

SHIPPED = sorted(Path(training.__file__).parent.joinpath("recipes").glob("*.toml"))


def test_the_recipes_are_shipped() -> None:
    assert [path.stem for path in SHIPPED] == [
        "camvid-fcn8s-mobilenet-edgetpu",
        "camvid-fcn8s-mobilenet-v2",
        "camvid-stage1",
        "demo",
        "fcn16s-vgg16-learned",
        "fcn16s-vgg16",
        "fcn32s-resnet18",
        "fcn32s-vgg16",
        "fcn8s-vgg16-at-once",
        "fcn8s-vgg16-conv1x1",
        "fcn8s-vgg16",
        "finetune",
        "voc-fcn8s-mobilenet-v2",
        "voc-start",
    ]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_holds_what_its_file_says(path: Path) -> None:
    recipe = make_recipe(path, {})
    for name, value in tomllib.loads(path.read_text()).items():
        assert getattr(recipe, name) == (tuple(value) if isinstance(value, list) else value)
    assert recipe.architecture(21).num_classes == 21


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
    with pytest.raises(RecipeError, match=r"recipe\.toml: unknown \['learningrate'\].*learning_rate"):
        make_recipe(path, {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batch = 0", "batch must be at least 1"),
        ("epochs = -1", "epochs at least 0"),
        ("scales = [0.0, 1.0]", "scales must be 0 < low <= high"),
        ("scales = [2.0, 1.0]", "scales must be 0 < low <= high"),
        ("class_weights = 'mean'", "class_weights must be none or median"),
        ("autocast = 'float8'", "autocast must be none, bfloat16 or float16"),
        ("flip = 2.0", "flip must be 0 to 1, got 2.0"),
        ("ema = 1.5", "ema must be 0 to 1, got 1.5"),
        ("crop = [0, 64]", r"crop must be \(height, width\) of at least 1"),
        ("frames_per_epoch = -5", "frames_per_epoch and seed must be 0 or more"),
        ("teacher_scales = []", "teacher_scales must hold at least one scale"),
        ("batch_loss = 'max'", "batch_loss must be mean or sum"),
        ("optimizer = 'lion'", "optimizer must be adamw or sgd"),
        ("accumulate = 9", "accumulate must be 1 to the batch of 8, got 9"),
        ("batch = 'eight'", "batch"),
        ("crop = 64", "crop"),
        ("crop = [64]", "crop"),
        ("scales = [1.0]", "scales"),
        ("epochs = ", "is not a recipe"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(line)
    with pytest.raises(RecipeError, match=message):
        make_recipe(path, {})


def test_a_missing_file_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.toml is not a recipe"):
        make_recipe(tmp_path / "nowhere.toml", {})


def test_its_dictionary_makes_it_again() -> None:
    recipe = make_recipe(SHIPPED[0], {"seed": 3})
    assert Recipe(**recipe.to_dict()) == recipe


def test_changes_are_written_as_in_toml() -> None:
    changes = parse_changes(["ema=0.9", "ema=0.5", "scales=[1.0, 2.0]", "class_weights='median'", "freeze_batch_norm = true"])
    recipe = make_recipe(None, changes)
    assert (recipe.ema, recipe.scales, recipe.class_weights, recipe.freeze_batch_norm) == (0.5, (1.0, 2.0), "median", True)


@pytest.mark.parametrize("text", ["ema", "ema=", "head=fc", "ema=1\n=2"])
def test_a_change_that_is_no_toml_is_shown(text: str) -> None:
    with pytest.raises(RecipeError, match="a change is written as in TOML"):
        parse_changes([text])


def test_an_unknown_name_is_told_wherever_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"changes: unknown \['learnin_rate'\]"):
        make_recipe(None, parse_changes(["learnin_rate=1e-3"]))
