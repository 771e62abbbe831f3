"""How a training learns: gently where the start knows every class, with the start's statistics where photos are few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model.labels import numbered_labels
from model.networks.builder import build_network
from model.preprocessing import Preprocessing
from model.weights_file import load_weights, save_weights
from training.data.class_mapping import parse_class_mapping
from training.data.label_files import read_labels
from training.data.network_classes import NEW
from training.learning.plan import KNOWN, KNOWN_STEPS, LEAST_KNOWN, PARTLY_KNOWN, RULES, SMALL, Facts
from training.learning.recipe import Recipe, RecipeError
from training.learning.score_rows import scores_of_classes
from training.learning.start_facts import StartFacts, count_answers, start_facts, with_rows
from training.survey.datasets import get_split

KNOWN_START = StartFacts((512, 512), (0, 3, 1), has_batch_norm=True)
PART_KNOWN = StartFacts((512, 512), (0, NEW, 1), has_batch_norm=True)
NO_START = StartFacts((512, 512))


def facts_of(start: StartFacts, frames: int = 64, **saved_values: Any) -> Facts:
    """Those of so many frames with three classes."""
    survey: Any = SimpleNamespace(records=range(frames), split=SimpleNamespace(labels=range(3)))
    return Facts(survey, start, None, saved_values)


def schedule(start: StartFacts, frames: int = 64, **changes: Any) -> Recipe:
    recipe = Recipe(plan=True, **changes)
    for name in list(RULES)[list(RULES).index("epochs") :]:
        if name not in changes:
            recipe = recipe.model_copy(update={name: RULES[name](recipe, facts_of(start, frames))[0]})
    return recipe


def test_known_classes_are_trained_gently_and_briefly() -> None:
    known, new = schedule(KNOWN_START), schedule(NO_START)
    assert known.learning_rate == KNOWN["learning_rate"] < new.learning_rate
    assert (known.class_weights, known.lovasz_weight, known.rare_share) == ("none", 0.0, 0.0)
    assert (new.class_weights, new.lovasz_weight > 0, new.rare_share > 0) == ("median", True, True)
    assert known.epochs * known.steps_of_epoch(64) == KNOWN_STEPS < new.epochs * new.steps_of_epoch(64)


def test_classes_known_in_part_train_the_head_fast_and_the_backbone_gently_for_as_long_as_new_ones() -> None:
    part, known, new = schedule(PART_KNOWN), schedule(KNOWN_START), schedule(NO_START)
    assert (part.learning_rate, part.head_factor) == (PARTLY_KNOWN["learning_rate"], PARTLY_KNOWN["head_factor"])
    assert part.learning_rate < new.learning_rate
    assert part.learning_rate * part.head_factor > 10 * known.learning_rate * known.head_factor
    assert (part.class_weights, part.lovasz_weight, part.rare_share) == ("none", 0.0, 0.0)
    assert part.epochs == new.epochs
    reasons = [RULES["learning_rate"](Recipe(), facts_of(start))[1] for start in (KNOWN_START, PART_KNOWN)]
    assert reasons == ["every class begins with the start's scores", "1 of 3 classes are new to the start"]


def test_few_frames_keep_the_start_s_statistics_and_a_resumed_training_its_warm_up() -> None:
    """With another warm-up, a larger number of epochs would be another training's."""
    assert [schedule(KNOWN_START, frames).freeze_batch_norm for frames in (SMALL - 1, SMALL)] == [True, False]
    assert not schedule(NO_START, 30).freeze_batch_norm
    assert [schedule(NO_START, epochs=epochs).warmup for epochs in (2, 30, 100)] == [1, 24, 50]
    assert RULES["warmup"](Recipe(epochs=100), facts_of(NO_START, warmup=24)) == (24, "as in the checkpoint")


@pytest.mark.parametrize(("new_classes", "is_partly_known"), [(3, True), (4, False)])
def test_a_start_that_knows_little_trains_as_if_all_classes_were_new(new_classes: int, is_partly_known: bool) -> None:
    start = StartFacts((512, 512), (0, *[NEW] * new_classes), has_batch_norm=True)
    assert (start.known_share >= LEAST_KNOWN) == is_partly_known
    expected, untrained = schedule(PART_KNOWN if is_partly_known else NO_START), {"freeze_batch_norm"}
    assert schedule(start).model_dump(exclude=untrained) == expected.model_dump(exclude=untrained)


def test_the_facts_of_a_start(narrow_file: Any) -> None:
    """The narrow network has a head with batch norm, and the classes of the generated shapes."""
    labels = numbered_labels(["square", "star"])
    own = Recipe(backbone="mobilenet_v2", width=0.1, head="fc", head_width=16)
    facts = start_facts(own, str(narrow_file), labels)
    names = load_weights(narrow_file).manifest.labels.names
    assert facts.rows == (names.index("square"), NEW)
    assert facts.known_share == 0.5
    assert facts.has_batch_norm
    assert with_rows(own, facts).start_rows == facts.rows
    assert (facts.scores, with_rows(own, facts).start_scores) == (((facts.rows[0],), (NEW,)),) * 2
    stated = own.model_copy(update={"start_rows": (1, 0)})
    assert start_facts(stated, str(narrow_file), labels).rows == (1, 0)
    wider = own.model_copy(update={"head_width": 32})
    assert not start_facts(wider, str(narrow_file), labels).has_batch_norm
    nothing = start_facts(own, "none", labels)
    assert (nothing.rows, nothing.lines, nothing.has_batch_norm, nothing.known_share) == ((), (), False, 0.0)
    assert with_rows(own, nothing) == own


def test_a_start_is_asked_about_new_classes(narrow_file: Any, shapes: Path) -> None:
    """The narrow network knows `background` and `circle`; what it says of the others is counted on train."""
    labels = read_labels(str(shapes / "classes.json"))
    mapping = parse_class_mapping("background=background,circle=circle,square=thing,triangle=thing", labels)
    train = get_split(shapes, "train", labels, mapping)
    own = Recipe(backbone="mobilenet_v2", width=0.1, head="fc", head_width=16)
    facts = start_facts(own, str(narrow_file), train.labels, train)
    answers = count_answers(load_weights(narrow_file), train, "cpu")
    assert answers.sum() == sum((train.mask(index) < 3).sum() for index in range(len(train.frames)))
    assert facts.scores == scores_of_classes(facts.rows, train.labels.names, [1] * 4, answers)
    recipe = with_rows(own, facts)
    numbers = [len(own_scores) for own_scores in facts.scores]
    assert recipe.architecture(3).num_scores == sum(numbers) == len(recipe.score_rows)
    assert facts.known_share == sum(NEW not in own_scores for own_scores in facts.scores) / 3
    separate = own.model_copy(update={"start_scores": ()})
    assert with_rows(separate, start_facts(separate, str(narrow_file), train.labels, train)).score_rows == facts.rows


def test_a_start_of_many_scores_keeps_each_with_its_class(narrow_file: Any, tmp_path: Path) -> None:
    """Also where the recipe's network is another, or where the rows are stated: they are classes, not scores."""
    source = load_weights(narrow_file)
    numbers = (3, 1, 2, 1)
    architecture = replace(source.manifest.fcn, class_scores=numbers)
    net = build_network(architecture)
    save_weights(tmp_path / "start.safetensors", net.state_dict(), replace(source.manifest, architecture=architecture))
    names = source.manifest.labels.names
    labels = numbered_labels([names[2], "star", names[1]])
    own = Recipe(backbone="mobilenet_v2", width=0.1, head="fc", head_width=16)
    scores = ((4, 5), (NEW,), (3,))
    changes: list[dict[str, Any]] = [{}, {"start_rows": (2, NEW, 1)}, {"variant": "fcn16s"}]
    for change in changes:
        recipe = own.model_copy(update=change)
        assert start_facts(recipe, str(tmp_path / "start.safetensors"), labels).scores == scores
    for wrong in ((2, 1), (2, NEW, 4)):
        with pytest.raises(ValueError, match=r"start_rows must name, for each of 3 classes, one of the start's 4, or -1"):
            start_facts(own.model_copy(update={"start_rows": wrong}), str(tmp_path / "start.safetensors"), labels)
    unstated = own.model_copy(update={"start_rows": ()})
    assert start_facts(unstated, str(tmp_path / "start.safetensors"), labels).scores == ((NEW,),) * 3
    four = numbered_labels(["sun", "moon", "star", "sky"])
    assert start_facts(unstated, str(tmp_path / "start.safetensors"), four).scores == ((0, 1, 2), (3,), (4, 5), (6,))
    with pytest.raises(ValueError, match="several scores for a class, and the decoder interpolated takes one"):
        start_facts(own.model_copy(update={"decoder": "interpolated"}), str(tmp_path / "start.safetensors"), labels)
    with pytest.raises(RecipeError, match="start_scores must be a list for each of 3 classes, got 2 lists"):
        own.model_copy(update={"start_scores": ((0, 1), (2,))}).architecture(3)


def test_a_training_that_resumes_keeps_the_scores_that_it_began_with(narrow_file: Any) -> None:
    names = load_weights(narrow_file).manifest.labels.names
    labels = numbered_labels(["background", names[1]])
    own = Recipe(backbone="mobilenet_v2", width=0.1, head="fc", head_width=16)
    rows = start_facts(own, str(narrow_file), labels).rows
    saved_values = {"start_rows": rows, "start_scores": ((0, 3), (1,))}
    assert start_facts(own, str(narrow_file), labels, saved_values=saved_values).scores == ((0, 3), (1,))
    other = saved_values | {"start_rows": (1, 0)}
    assert start_facts(own, str(narrow_file), labels, saved_values=other).scores != ((0, 3), (1,))


def test_a_start_of_more_bands_is_known_like_one_of_photos(narrow_file: Any, tmp_path: Path, shapes: Path) -> None:
    source = load_weights(narrow_file)
    preprocessing = Preprocessing(mean=(0.0,) * 5, std=(1.0,) * 5, bands=tuple("abcde"))
    manifest = replace(source.manifest, architecture=replace(source.manifest.fcn, bands=5), preprocessing=preprocessing)
    save_weights(tmp_path / "start.safetensors", build_network(manifest.fcn).state_dict(), manifest)
    own = Recipe(backbone="mobilenet_v2", width=0.1, head="fc", head_width=16)
    photos = get_split(shapes, "train", source.manifest.labels)
    scenes = replace(photos, bands=preprocessing.bands)
    assert start_facts(own, str(tmp_path / "start.safetensors"), scenes.labels, scenes).has_batch_norm
    assert start_facts(own, str(tmp_path / "start.safetensors"), scenes.labels, scenes).scores == ((0,), (1,), (2,), (3,))
    assert not start_facts(own, str(tmp_path / "start.safetensors"), photos.labels, photos).has_batch_norm
