"""What a training takes from its data: sides by the smallest class, crops by the frames' shape, epochs by their number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.labels import numbered_labels
from tests.support.images import make_photo
from tests.support.training.data_sets import write_frame
from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.data.class_mapping import parse_class_mapping
from training.learning.checkpoint import Progress, save_checkpoint, saved_recipe
from training.learning.optimization import warmup_warning
from training.learning.plan import RULES, Facts, plan
from training.learning.recipe import Recipe, make_recipe
from training.learning.start_facts import StartFacts
from training.survey.datasets import get_split
from training.survey.records import Survey, survey_all

LABELS = numbered_labels(["soil", "leaf", "stem"])
GB = 10**9
START = StartFacts((512, 512))
NARROW: dict[str, Any] = {"plan": True, "width": 0.1, "head_width": 16}


def survey_of(
    root: Path, *, size: tuple[int, int] = (480, 640), stem: int = 0, frames: int = 2, mapping: str | None = None
) -> Survey:
    """Photos of one size whose left half is leaf, with a square of stem of this side."""
    ids = np.zeros(size, np.uint8)
    ids[:, : size[1] // 2] = 1
    ids[10 : 10 + stem, 10 : 10 + stem] = 2
    for index in range(frames):
        write_frame(
            root / "images" / "train" / f"{index}.jpg", root / "masks" / "train" / f"{index}.png", ids, make_photo(*size)
        )
    class_mapping = parse_class_mapping(mapping, LABELS) if mapping else None
    return survey_all([get_split(root, "train", LABELS, class_mapping)])[0]


def plan_recipe(survey: Survey, *, memory: int | None = 64 * GB, side: tuple[int, int] = (512, 512), **changes: Any) -> Recipe:
    return plan(Recipe(**(NARROW | changes)), Facts(survey, StartFacts(side), memory))[0]


def test_the_start_s_side_is_kept_where_classes_are_large(tmp_path: Path) -> None:
    recipe = plan_recipe(survey_of(tmp_path, size=(960, 1280), stem=200))
    assert (recipe.side, recipe.tile) == ((512, 512), (512, 512))
    assert plan_recipe(survey_of(tmp_path, size=(960, 1280), stem=200), side=(720, 960)).side == (960, 960)


@pytest.mark.parametrize(("stem", "side"), [(50, 640), (4, 1024)])
def test_a_small_class_takes_a_larger_side(tmp_path: Path, stem: int, side: int) -> None:
    survey = survey_of(tmp_path, size=(960, 1280), stem=stem)
    recipe, proposals = plan(Recipe(**NARROW), Facts(survey, START, 64 * GB))
    assert recipe.side == (side, side)
    assert "'stem'" in proposals[0].reason


def test_a_side_is_not_larger_than_the_files_nor_small_frames_more_than_doubled(tmp_path: Path) -> None:
    assert plan_recipe(survey_of(tmp_path / "a", stem=6)).side == (640, 640)
    assert plan_recipe(survey_of(tmp_path / "b", size=(72, 96), stem=20)).side == (192, 192)


def test_a_class_that_is_mapped_away_is_not_looked_at(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, size=(960, 1280), stem=10, mapping="soil=soil,leaf=leaf")
    assert plan_recipe(survey).side == (512, 512)


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


def test_what_is_stated_stays(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, stem=4)
    own_values = {"side": (96, 96), "tile": (64, 64), "crop": (64, 96), "batch": 3, "accumulate": 2, "epochs": 7}
    own_values |= {"warmup": 3, "learning_rate": 1e-3, "head_factor": 2.0, "class_weights": "none", "lovasz_weight": 0.1}
    own_values |= {"rare_share": 0.0, "freeze_batch_norm": True}
    recipe, proposals = plan(Recipe(**(NARROW | own_values)), Facts(survey, START, 1))
    assert [getattr(recipe, name) for name in RULES] == list(own_values.values())
    assert proposals == []
    recipe, proposals = plan(Recipe(**(NARROW | {"side": (96, 96)})), Facts(survey, START, 64 * GB))
    assert recipe.crop == (64, 96)
    assert [proposal.name for proposal in proposals] == list(RULES)[1:]


def test_a_resumed_training_keeps_its_parts_of_a_batch(tmp_path: Path) -> None:
    survey = survey_of(tmp_path, stem=4)
    first, _ = plan(Recipe(**NARROW), Facts(survey, START, 64 * GB))
    with_less_memory = plan(Recipe(**NARROW), Facts(survey, START, 1))[0]
    assert with_less_memory.accumulate > first.accumulate
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert saved_recipe(tmp_path) == {}
    save_checkpoint(tmp_path, Progress(), {}, {"recipe": first.model_dump()})
    recipe, proposals = plan(Recipe(**NARROW), Facts(survey, START, 1, saved_recipe(tmp_path)))
    assert recipe == first
    assert [p.reason for p in proposals if p.name == "accumulate"] == ["parts of a batch, as in the checkpoint"]
    other = plan(Recipe(**(NARROW | {"batch": 6})), Facts(survey, START, 1, saved_recipe(tmp_path)))[0]
    assert other.accumulate == 6


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
