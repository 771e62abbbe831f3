"""What is known of a start: which of the data's classes it knows by name, its scores for them, and its statistics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.labels import numbered_labels
from model.networks.builder import build_network
from model.preprocessing import Preprocessing
from model.weights_file import Weights, save_weights
from tests.support.training.invocations import split_of_shapes
from training.data.class_mapping import identity_mapping
from training.data.network_classes import NEW
from training.data.split import Split
from training.learning.recipe import Recipe, RecipeError
from training.learning.start_description import count_answers, describe_start, with_rows
from training.learning.start_scores import scores_of_classes
from training.learning.starts import read_start

OWN = Recipe(width=0.1, head="fc", head_width=16)
"""The narrow network's recipe. That network has a head with batch norm, and the classes of the generated shapes."""


def changed(**changes: Any) -> Recipe:
    """`OWN` that states these values."""
    return OWN.model_copy(update=changes)


def split_of(*names: str) -> Split:
    """A split of these classes, without frames."""
    labels = numbered_labels(names)
    return Split("train", (), identity_mapping(labels), labels)


def test_the_facts_of_a_start(narrow_file: Path) -> None:
    train = split_of("square", "star")
    facts = describe_start(OWN, read_start(str(narrow_file)), train)
    assert (facts.rows, facts.scores, facts.known_share, facts.has_batch_norm) == ((2, NEW), ((2,), (NEW,)), 0.5, True)
    planned = with_rows(OWN, facts)
    assert (planned.start_rows, planned.start_scores) == (facts.rows, facts.scores)
    assert describe_start(changed(start_rows=(1, 0)), read_start(str(narrow_file)), train).rows == (1, 0)
    assert not describe_start(changed(head_width=32), read_start(str(narrow_file)), train).has_batch_norm
    nothing = describe_start(OWN, read_start("none"), train)
    assert (nothing.rows, nothing.lines, nothing.has_batch_norm, nothing.known_share) == ((), (), False, 0.0)
    assert with_rows(OWN, nothing) == OWN


def test_a_start_is_asked_about_new_classes(narrow_file: Path, narrow: Weights, shapes: Path) -> None:
    """The narrow network knows `background` and `circle`; what it says of the others is counted on train."""
    train = split_of_shapes(shapes, "background=background,circle=circle,square=thing,triangle=thing", "train")
    facts = describe_start(OWN, read_start(str(narrow_file)), train)
    answers = count_answers(narrow, train, "cpu")
    assert answers.sum() == sum((train.mask(index) < 3).sum() for index in range(len(train.frames)))
    assert facts.scores == scores_of_classes(facts.rows, train.labels.names, [1] * 4, answers)
    recipe = with_rows(OWN, facts)
    assert recipe.architecture(3).num_scores == sum(map(len, facts.scores)) == len(recipe.score_rows)
    separate = changed(start_scores=())
    assert with_rows(separate, describe_start(separate, read_start(str(narrow_file)), train)).score_rows == facts.rows


def test_a_start_of_many_scores_keeps_each_with_its_class(narrow: Weights, tmp_path: Path) -> None:
    """Also where the recipe's network is another, or where the rows are stated: they are classes, not scores."""
    architecture = replace(narrow.manifest.fcn, class_scores=(3, 1, 2, 1))
    manifest = replace(narrow.manifest, architecture=architecture)
    start = tmp_path / "start.safetensors"
    save_weights(start, build_network(architecture).state_dict(), manifest)
    train = split_of("square", "star", "circle")
    for recipe in (OWN, changed(start_rows=(2, NEW, 1)), changed(variant="fcn16s")):
        assert describe_start(recipe, read_start(str(start)), train).scores == ((4, 5), (NEW,), (3,))
    for wrong in ((2, 1), (2, NEW, 4)):
        with pytest.raises(ValueError, match=r"start_rows must name, for each of 3 classes, one of the start's 4, or -1"):
            describe_start(changed(start_rows=wrong), read_start(str(start)), train)
    unstated = changed(start_rows=())
    assert describe_start(unstated, read_start(str(start)), train).scores == ((NEW,),) * 3
    four = split_of("sun", "moon", "star", "sky")
    assert describe_start(unstated, read_start(str(start)), four).scores == ((0, 1, 2), (3,), (4, 5), (6,))
    with pytest.raises(ValueError, match="several scores for a class, and the decoder interpolated takes one"):
        describe_start(changed(decoder="interpolated"), read_start(str(start)), train)
    with pytest.raises(RecipeError, match="start_scores must be a list for each of 3 classes, got 2 lists"):
        changed(start_scores=((0, 1), (2,))).architecture(3)


def test_a_training_that_resumes_keeps_the_scores_that_it_began_with(narrow_file: Path) -> None:
    train = split_of("background", "circle")
    for rows, are_kept in (((0, 1), True), ((1, 0), False)):
        saved_values = {"start_rows": rows, "start_scores": ((0, 3), (1,))}
        scores = describe_start(OWN, read_start(str(narrow_file)), train, saved_values=saved_values).scores
        assert (scores == ((0, 3), (1,))) == are_kept


def test_a_start_of_more_bands_is_known_like_one_of_photos(narrow: Weights, tmp_path: Path, shapes: Path) -> None:
    preprocessing = Preprocessing(mean=(0.0,) * 5, std=(1.0,) * 5, bands=tuple("abcde"))
    manifest = replace(narrow.manifest, architecture=replace(narrow.manifest.fcn, bands=5), preprocessing=preprocessing)
    start = tmp_path / "start.safetensors"
    save_weights(start, build_network(manifest.fcn).state_dict(), manifest)
    photos = split_of_shapes(shapes, split="train")
    facts = describe_start(OWN, read_start(str(start)), replace(photos, bands=preprocessing.bands))
    assert (facts.has_batch_norm, facts.scores) == (True, ((0,), (1,), (2,), (3,)))
    assert not describe_start(OWN, read_start(str(start)), photos).has_batch_norm
