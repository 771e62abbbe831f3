"""What a training takes from its data: sides by the smallest class, crops by the frames' shape, epochs by their number.

And from its start: where that knows every class, it learns gently; where photos are few, with the start's statistics.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model.labels import numbered_labels
from tests.support.training.data_sets import write_camvid
from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.data.class_mapping import parse_class_mapping
from training.data.layouts import FrameSet
from training.data.network_classes import NEW
from training.data.split import get_split
from training.learning.checkpoint import Progress, save_checkpoint, saved_recipe
from training.learning.optimization import warmup_warning
from training.learning.plan import KNOWN, KNOWN_STEPS, PARTLY_KNOWN, RULES, SMALL, PlanInputs, plan, plan_lines
from training.learning.recipe import Recipe, make_recipe
from training.learning.start_description import StartDescription
from training.survey.records import Survey, survey_all

LABELS = numbered_labels(["soil", "leaf", "stem"])
GB = 10**9
START = StartDescription((512, 512))
KNOWN_START = StartDescription((512, 512), (0, 3, 1), has_batch_norm=True)
PART_KNOWN = StartDescription((512, 512), (0, NEW, 1), has_batch_norm=True)
NARROW: dict[str, Any] = {"plan": True, "width": 0.1, "head_width": 16}


def survey_of(root: Path, *, size: tuple[int, int] = (480, 640), stem: int = 0, frames: int = 2) -> Survey:
    """Photos of one size whose left half is leaf, with a square of stem of this side."""
    ids = np.zeros(size, np.uint8)
    ids[:, : size[1] // 2] = 1
    ids[10 : 10 + stem, 10 : 10 + stem] = 2
    return survey_all([get_split(write_camvid(root, dict.fromkeys(map(str, range(frames)), ids)), "train", LABELS)])[0]


def plan_recipe(survey: Survey, *, memory: int | None = 64 * GB, side: tuple[int, int] = (512, 512), **changes: Any) -> Recipe:
    return plan(Recipe(**(NARROW | changes)), PlanInputs(survey, StartDescription(side), memory))[0]


@pytest.mark.parametrize(
    ("size", "stem", "start", "side"),
    [
        ((960, 1280), 200, (512, 512), 512),
        ((960, 1280), 200, (720, 960), 960),
        ((960, 1280), 50, (512, 512), 640),
        ((960, 1280), 4, (512, 512), 1024),
        ((480, 640), 6, (512, 512), 640),
        ((72, 96), 20, (512, 512), 192),
    ],
    ids=["start", "start's larger side", "small class", "largest", "no larger than files", "small frames doubled"],
)
def test_the_side_is_the_start_s_or_that_of_the_smallest_class(
    tmp_path: Path, size: tuple[int, int], stem: int, start: tuple[int, int], side: int
) -> None:
    survey = survey_of(tmp_path, size=size, stem=stem)
    recipe = plan_recipe(survey, side=start)
    assert (recipe.side, recipe.tile) == ((side, side), (min(side, 512),) * 2)


def test_a_class_that_is_mapped_away_or_that_its_set_does_not_label_is_not_looked_at(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, size=(960, 1280), stem=10)
    without_stem = replace(survey.split, mapping=parse_class_mapping("soil=soil,leaf=leaf", LABELS))
    frames = tuple(replace(frame, set=FrameSet(labelled=frozenset({0, 1}))) for frame in survey.split.frames)
    for split in (without_stem, replace(survey.split, frames=frames)):
        assert plan_recipe(replace(survey, split=split)).side == (512, 512)


@pytest.mark.parametrize(("size", "crop"), [((480, 640), (288, 384)), ((640, 480), (384, 288))])
def test_crops_have_the_shape_of_the_frames(tmp_path: Path, size: tuple[int, int], crop: tuple[int, int]) -> None:
    assert plan_recipe(survey_of(tmp_path, size=size)).crop == crop


def test_few_frames_have_more_epochs_and_a_smaller_batch(tmp_path: Path) -> None:
    few, more = survey_of(tmp_path / "a", size=(48, 64), frames=2), survey_of(tmp_path / "b", size=(48, 64), frames=80)
    assert (plan_recipe(few).batch, plan_recipe(few).epochs) == (2, 200)
    assert (plan_recipe(more).batch, plan_recipe(more).epochs) == (8, 60)  # of 10 steps
    assert plan_recipe(more, batch=2).epochs == 15


def test_a_batch_is_cut_into_parts_that_fit_into_the_memory(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, frames=8)
    parts = [plan_recipe(survey, memory=memory).accumulate for memory in (64 * GB, GB // 2, 1)]
    assert parts[0] == 1 < parts[1] < parts[2] == 8
    assert plan_recipe(survey, memory=None).accumulate == 1
    wide = plan_recipe(survey, memory=GB, width=1.0, head_width=256)
    assert wide.accumulate > plan_recipe(survey, memory=GB).accumulate


def schedule(start: StartDescription, frames: int = 64, **changes: Any) -> Recipe:
    """The recipe of so many frames with three classes; only the rules that look at nothing but their numbers are asked."""
    survey: Any = SimpleNamespace(records=range(frames), split=SimpleNamespace(labels=LABELS))
    recipe = Recipe(plan=True, **changes)
    for name in list(RULES)[list(RULES).index("epochs") :]:
        if name not in changes:
            recipe = recipe.model_copy(update={name: RULES[name](recipe, PlanInputs(survey, start))[0]})
    return recipe


def test_known_classes_are_trained_gently_and_briefly() -> None:
    known, new = schedule(KNOWN_START), schedule(START)
    assert known.learning_rate == KNOWN["learning_rate"] < new.learning_rate
    assert (known.class_weights, known.lovasz_weight, known.rare_share) == ("none", 0.0, 0.0)
    assert (new.class_weights, new.lovasz_weight > 0, new.rare_share > 0) == ("median", True, True)
    assert known.epochs * known.steps_of_epoch(64) == KNOWN_STEPS < new.epochs * new.steps_of_epoch(64)


def test_classes_known_in_part_train_the_head_fast_and_the_backbone_gently_for_as_long_as_new_ones() -> None:
    part, known, new = schedule(PART_KNOWN), schedule(KNOWN_START), schedule(START)
    assert (part.learning_rate, part.head_factor) == (PARTLY_KNOWN["learning_rate"], PARTLY_KNOWN["head_factor"])
    assert part.learning_rate < new.learning_rate
    assert part.learning_rate * part.head_factor > 10 * known.learning_rate * known.head_factor
    assert (part.class_weights, part.lovasz_weight, part.rare_share) == ("none", 0.0, 0.0)
    assert part.epochs == new.epochs


@pytest.mark.parametrize(("new_classes", "is_partly_known"), [(3, True), (4, False)])
def test_a_start_that_knows_little_trains_as_if_all_classes_were_new(new_classes: int, is_partly_known: bool) -> None:
    start = StartDescription((512, 512), (0, *[NEW] * new_classes), has_batch_norm=True)
    expected, untrained = schedule(PART_KNOWN if is_partly_known else START), {"freeze_batch_norm"}
    assert schedule(start).model_dump(exclude=untrained) == expected.model_dump(exclude=untrained)


def test_few_frames_keep_the_start_s_statistics_and_a_short_training_warms_up_briefly() -> None:
    assert [schedule(KNOWN_START, frames).freeze_batch_norm for frames in (SMALL - 1, SMALL)] == [True, False]
    assert not schedule(START, 30).freeze_batch_norm
    assert [schedule(START, epochs=epochs).warmup for epochs in (2, 30, 100)] == [1, 24, 50]


def test_what_is_stated_stays(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, stem=4)
    own_values = {"side": (96, 96), "tile": (64, 64), "crop": (64, 96), "batch": 3, "accumulate": 2, "epochs": 7}
    own_values |= {"warmup": 3, "learning_rate": 1e-3, "head_factor": 2.0, "class_weights": "none", "lovasz_weight": 0.1}
    own_values |= {"rare_share": 0.0, "freeze_batch_norm": True}
    recipe, reasons = plan(Recipe(**(NARROW | own_values)), PlanInputs(survey, START, 1))
    assert [getattr(recipe, name) for name in RULES] == list(own_values.values())
    assert reasons == {}
    assert len(plan_lines(recipe, reasons)) == 1
    recipe, reasons = plan(Recipe(**(NARROW | {"side": (96, 96)})), PlanInputs(survey, START, 64 * GB))
    assert recipe.crop == (64, 96)
    assert list(reasons) == list(RULES)[1:]


def test_a_resumed_training_keeps_its_parts_of_a_batch_and_its_warm_up(tmp_path: Path) -> None:
    """With another warm-up, a larger number of epochs would be another training's."""
    survey = survey_of(tmp_path, stem=4)
    first, _ = plan(Recipe(**NARROW), PlanInputs(survey, START, 64 * GB))
    with_less_memory = plan(Recipe(**NARROW), PlanInputs(survey, START, 1))[0]
    assert with_less_memory.accumulate > first.accumulate
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert saved_recipe(tmp_path) == {}
    save_checkpoint(tmp_path, Progress(), {}, {"recipe": first.model_dump()})
    recipe, reasons = plan(Recipe(**NARROW), PlanInputs(survey, START, 1, saved_recipe(tmp_path)))
    assert recipe == first
    assert reasons["accumulate"] == "parts of a batch, as in the checkpoint"
    other = plan(Recipe(**(NARROW | {"batch": 6, "epochs": 2})), PlanInputs(survey, START, 1, saved_recipe(tmp_path)))[0]
    assert (other.accumulate, other.warmup) == (6, first.warmup)


def test_the_recipe_for_own_labels_follows_the_data_and_those_of_the_published_weights_do_not() -> None:
    folder = Path(__file__).parents[3] / "training" / "recipes"
    finetune = make_recipe(folder / "finetune.toml", {})
    assert finetune.plan
    assert not set(RULES) & finetune.model_fields_set
    file_recipe = make_recipe(folder / "voc-fcn8s-mobilenet-v2.toml", {})
    assert (file_recipe.plan, file_recipe.scales_of) == (False, "file")


@pytest.mark.long
def test_a_training_prints_its_plan_and_trains_by_it(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('plan = true\nwidth = 0.1\nhead_width = 16\nautocast = "none"\nwarmup = 2\n')
    assert main(on_shapes(shapes, recipe, tmp_path / "out", "--epochs", "1")) == 0
    out = capsys.readouterr().out
    lines = [re.split(" {2,}", line) for line in out.splitlines()]  # the columns are as wide as their longest name
    assert "--set NAME=VALUE changes a value" in out
    assert any(line[1:2] == ["side"] and "[192, 192]" in line for line in lines)
    assert not any(line[1:2] == ["epochs"] for line in lines)


def test_a_warm_up_as_long_as_the_training_is_told_with_the_highest_rate() -> None:
    """With a power of 1, the rate of step s of n is (s + 1) / warmup * (1 - s / n)."""
    recipe = Recipe(warmup=40, power=1.0)
    assert warmup_warning(recipe, 41) is None
    assert warmup_warning(Recipe(warmup=0), 0) is None
    for steps in (40, 10):
        highest = max((step + 1) / 40 * (1 - step / steps) for step in range(steps))
        warning = warmup_warning(recipe, steps)
        assert warning is not None
        assert warning.startswith(f"the warm-up takes 40 steps and the training {steps}, so the learning rate never reaches")
        assert f"its highest is {highest:.0%} of it; --set warmup={steps // 10}, or train for more epochs" in warning
