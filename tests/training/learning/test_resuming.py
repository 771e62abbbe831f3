"""A training that was stopped goes on where it was; a folder of another one is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.support.training.runs import Make, Stop, differing, rows, state, stop
from training.learning.checkpoint import FILE, load_checkpoint
from training.learning.optimization import Optimization
from training.learning.recipe import Recipe
from training.learning.run import train


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ema": 0.0}, marks=pytest.mark.long),
        {"ema": 0.9, "dropout": True},
        pytest.param({"lovasz_weight": 1.0}, marks=pytest.mark.long),
        {"rare_share": 0.5, "rotation": 20.0, "quarter_turns": 0.5, "vertical_flip": 0.5, "dice_weight": 1.0},
    ],
    ids=["plain", "averaged with dropout", "with Lovász", "with rare crops, turns and all losses"],
)
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(make_run: Make, changes: dict[str, Any]) -> None:
    """And no row of the curves is lost."""
    whole_run = make_run("whole", **changes)
    whole, _ = train(whole_run)
    with pytest.raises(Stop):
        train(replace(make_run("broken", **changes), evaluate=stop, evaluate_every=2))
    run = make_run("broken", **changes)
    network, progress = train(run)
    assert (progress.epoch, progress.step) == (2, 8)
    assert differing(state(whole), state(network)) == []
    actual, expected = ([(row["epoch"], row["loss"]) for row in rows(each.folder)] for each in (run, whole_run))
    assert actual == expected


def test_a_training_that_is_done_is_not_trained_again(make_run: Make, capsys: pytest.CaptureFixture[str]) -> None:
    first, end = train(make_run(epochs=1))
    again, progress = train(make_run(epochs=1))
    assert "is done, nothing is left to train" in capsys.readouterr().out
    assert progress == end
    assert differing(state(first), state(again)) == []


def test_a_folder_of_another_recipe_is_refused(make_run: Make) -> None:
    train(make_run(epochs=2))
    for changes, message in (({"epochs": 1}, r"epochs \(2, now 1\)"), ({"epochs": 3, "ema": 0.5}, r"ema \(0\.9, now 0\.5\)")):
        with pytest.raises(ValueError, match=f"other recipe: {message}"):
            train(make_run(**changes))


def test_a_folder_of_other_masks_is_refused(make_run: Make) -> None:
    """Corrected labels are other data, though the files' names are the same."""
    run = make_run(epochs=1)
    train(run)
    path = run.survey.split.frames[0].mask
    before = path.read_bytes()
    with Image.open(path) as mask:
        mirror_mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirror_mask.save(path)
    try:
        with pytest.raises(ValueError, match="other frames; give another --out"):
            train(make_run(epochs=1))
    finally:
        path.write_bytes(before)


def test_a_training_that_is_done_goes_on_for_more_epochs_by_their_schedule(make_run: Make) -> None:
    train(make_run(epochs=1, power=1.0, ema=0.0))
    run = make_run(epochs=2, power=1.0, ema=0.0)
    net, progress = train(run)
    assert (progress.epoch, progress.step, progress.went_on_from) == (2, 8, [1])
    assert [row["epoch"] for row in rows(run.folder)] == ["1", "2"]
    _, again = train(make_run(epochs=3, power=1.0, ema=0.0))
    assert (again.epoch, again.step, again.went_on_from) == (3, 12, [1, 2])
    assert differing(state(net), state(train(make_run("at once", epochs=2, power=1.0, ema=0.0))[0]))


def test_the_rate_of_a_training_that_goes_on_is_that_of_all_its_steps(make_run: Make) -> None:
    run = make_run(power=1.0)
    end, longer = (Optimization(run.net, run.recipe, steps, run.device) for steps in (4, 16))
    for _ in range(4):
        end.step()
    assert end.learning_rate == 0
    longer.load_state_dict(end.state_dict())
    assert longer.learning_rate == pytest.approx(run.recipe.learning_rate * 12 / 16)


def test_the_checkpoint_says_whose_it_is(make_run: Make) -> None:
    run = make_run(epochs=1)
    train(run)
    checkpoint = load_checkpoint(
        run.folder, {"recipe": Recipe(**run.recipe.to_dict()).to_dict(), "frames": run.survey.contents}
    )
    assert checkpoint is not None
    assert set(checkpoint[1]) == {"net", "optimizer", "scheduler", "scaler", "average"}


def test_a_folder_of_another_origin_is_refused(make_run: Make) -> None:
    train(replace(make_run(epochs=1), origin={"start": "none", "teacher": ""}))
    for origin in ("start", "teacher"):
        other = {"start": "none", "teacher": ""} | {origin: "another"}
        with pytest.raises(ValueError, match=f"other {origin};"):
            train(replace(make_run(epochs=1), origin=other))


def test_a_checkpoint_that_is_damaged_or_whose_states_are_others_is_named(make_run: Make) -> None:
    run = make_run(epochs=1)
    train(run)
    path = run.folder / FILE
    content = torch.load(path, weights_only=True)
    torch.save(content | {"states": {"x": 1}}, path)
    with pytest.raises(ValueError, match=r"checkpoint\.pt does not hold the states of this training: 'net'; remove it"):
        train(make_run(epochs=1))
    path.write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged.*remove it to begin again"):
        train(make_run(epochs=1))
