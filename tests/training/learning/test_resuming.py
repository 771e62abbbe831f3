"""A training that was stopped goes on where it was; a folder of another one is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.support.training.runs import Make, Stop, differing, rows, state, stop
from training.learning.checkpoint import FILE
from training.learning.run import train


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": 0.9, "dropout": True},
        {
            "lovasz_weight": 1.0,
            "rare_share": 0.5,
            "rotation": 20.0,
            "quarter_turns": 0.5,
            "vertical_flip": 0.5,
            "dice_weight": 1.0,
        },
    ],
    ids=["averaged with dropout", "with rare crops, turns and all losses"],
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


def test_a_folder_of_another_training_or_without_its_states_is_refused(make_run: Make) -> None:
    """Corrected labels are other data, though the files' names are the same."""
    run = make_run(epochs=2)
    train(run)
    with pytest.raises(ValueError, match="other teacher;"):
        train(replace(make_run(epochs=2), origin={"teacher": "another"}))
    for changes, message in (({"epochs": 1}, r"epochs \(2, now 1\)"), ({"epochs": 3, "ema": 0.5}, r"ema \(0\.9, now 0\.5\)")):
        with pytest.raises(ValueError, match=f"other recipe: {message}"):
            train(make_run(**changes))
    path = run.survey.split.frames[0].mask
    before = path.read_bytes()
    with Image.open(path) as mask:
        mirror_mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirror_mask.save(path)
    try:
        with pytest.raises(ValueError, match="other frames; give another --out"):
            train(make_run(epochs=2))
    finally:
        path.write_bytes(before)
    content = torch.load(run.folder / FILE, weights_only=True)
    torch.save(content | {"states": {"x": 1}}, run.folder / FILE)
    with pytest.raises(ValueError, match=r"checkpoint\.pt does not hold the states of this training: 'net'; remove it"):
        train(make_run(epochs=2))


def test_a_training_that_is_done_goes_on_for_more_epochs_alone_by_their_schedule(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    train(make_run(epochs=1, power=1.0, ema=0.0))
    run = make_run(epochs=2, power=1.0, ema=0.0)
    net, progress = train(run)
    assert (progress.epoch, progress.step, progress.went_on_from) == (2, 8, [1])
    assert [row["epoch"] for row in rows(run.folder)] == ["1", "2"]
    _, again = train(make_run(epochs=3, power=1.0, ema=0.0))
    assert (again.epoch, again.step, again.went_on_from) == (3, 12, [1, 2])
    assert train(make_run(epochs=3, power=1.0, ema=0.0))[1] == again
    assert "is done, nothing is left to train" in capsys.readouterr().out
    assert differing(state(net), state(train(make_run("at once", epochs=2, power=1.0, ema=0.0))[0]))
