"""The training loop: schedule, averaged weights, skipped steps, curves; a training that was stopped resumes, or is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from model.networks.fcn import FCN
from tests.support.training.runs import Make, differing, rows, state
from training.learning.checkpoint import FILE, Progress
from training.learning.optimization import Optimization
from training.learning.run import Trainer
from training.survey.records import survey_all


def test_a_training_counts_and_tells_its_steps_and_writes_curves_and_checkpoint(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(draws=True)
    before = state(run.net)
    net, progress = Trainer(run).train(lambda net: {"mean_iou": 0.25})
    assert (progress.epoch, progress.step, progress.skipped) == (2, 4, 0)
    assert progress.seconds > 0
    assert {path.name for path in run.folder.iterdir()} == {"checkpoint.pt", "curves.csv", "curves.png", "metrics.jsonl"}
    assert "backbone.features.0.0.weight" in differing(before, state(net))
    assert "score_fr.weight" in differing(before, state(net))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert f"loss {float(rows(run.folder)[1]['loss']):.4f}" in lines[1]
    assert re.search(r"% of the time waiting for data, about \d\d:\d\d left$", lines[0])
    assert lines[1].endswith("% of the time waiting for data, val mean IoU 0.2500")


def test_the_result_is_the_average_and_not_the_last_network(make_run: Make) -> None:
    run = make_run(ema=0.9, epochs=1)
    average, _ = Trainer(run).train()
    assert "score_fr.weight" in differing(state(average), state(run.net))
    plain = make_run("plain", ema=0.0, epochs=1)
    last, _ = Trainer(plain).train()
    assert differing(state(last), state(plain.net)) == []
    assert differing(state(run.net), state(last)) == []


def test_the_result_has_its_share_of_the_start_and_the_training_is_the_same(make_run: Make) -> None:
    whole, shared = make_run("whole", ema=0.9, epochs=1), make_run("shared", ema=0.9, epochs=1, start_share=0.75)
    start = {name: tensor.clone() for name, tensor in state(whole.net).items()}
    trained, mixed = (state(Trainer(run).train()[0]) for run in (whole, shared))
    assert differing(state(whole.net), state(shared.net)) == []
    assert "score_fr.weight" in differing(start, trained)
    for name, tensor in mixed.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.75 * start[name] + 0.25 * trained[name])


def test_the_learning_rate_warms_up_and_falls_to_zero(make_run: Make) -> None:
    run = make_run(epochs=4, warmup=4, power=1.0)
    Trainer(run).train()
    rates = [float(row["learning_rate"]) for row in rows(run.folder)]
    base = run.recipe.learning_rate
    assert rates == pytest.approx([base * 3 / 4 * 6 / 8, base * 4 / 8, base * 2 / 8, 0], rel=1e-4)


@pytest.mark.long
def test_a_training_ends_when_the_score_has_not_risen_for_so_many_epochs(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.9, 0.8])
    epochs: list[tuple[int, bool | None]] = []
    run = replace(make_run(epochs=9), evaluate_every=1, stop_after=2)

    def evaluate(_: FCN) -> dict[str, float | None]:
        return {"mean_iou": next(scores)}

    def save(_: FCN, progress: Progress, is_best: bool | None) -> None:
        epochs.append((progress.epoch, is_best))

    _, progress = Trainer(run).train(evaluate, save)
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (4, 2, 0.3)
    assert epochs == [(1, True), (2, True), (3, False), (4, False)]
    _, again = Trainer(replace(run, net=make_run(epochs=9).net)).train(evaluate, save)
    assert again.epoch == 4
    assert "epoch 4 of 9 is done, nothing is left to train" in capsys.readouterr().out
    longer_run = replace(run, net=make_run(epochs=9).net, stop_after=3, evaluate_every=5)
    _, longer = Trainer(longer_run).train(evaluate, save)
    assert (longer.epoch, longer.best_epoch) == (9, 5)
    assert epochs[4:] == [(5, True), (6, None), (7, None), (8, None), (9, False)], "weights are written after every epoch"
    assert [row["mean_iou"] for row in rows(run.folder)][4:] == ["0.9", "", "", "", "0.8"]


def test_frozen_batch_norm_keeps_its_statistics(make_run: Make) -> None:
    run = make_run(freeze_batch_norm=True, ema=0.0, epochs=1)
    before = state(run.net)
    net, _ = Trainer(run).train()
    changed_names = differing(before, state(net))
    assert changed_names
    assert not [name for name in changed_names if "running_" in name]


def test_a_border_without_labels_is_not_learnt_from(make_run: Make) -> None:
    run = make_run(unlabelled_border=200, weight_decay=0.0, freeze_batch_norm=True, ema=0.0, epochs=1)
    before = state(run.net)
    assert differing(before, state(Trainer(run).train()[0])) == []
    assert [float(row["loss"]) for row in rows(run.folder)] == [0]


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")
def test_a_step_with_an_infinite_gradient_leaves_weights_and_average_and_is_counted(make_run: Make) -> None:
    run = make_run(epochs=1, ema=0.5)
    with torch.no_grad():
        run.net.score_fr.weight.fill_(float("inf"))
    before = state(run.net)
    net, progress = Trainer(run).train()
    assert progress.skipped == progress.step == 2
    parameters = dict(run.net.named_parameters())
    assert not [name for name in differing(before, state(run.net)) if name in parameters]
    assert differing(before, state(net)) == []


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")
def test_statistics_of_batch_norm_are_finite_after_a_poisoned_batch(make_run: Make) -> None:
    run = make_run(epochs=1, ema=0.5, batch=2)
    calls = []

    def poison_third(_: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        calls.append(len(inputs[0]))
        return inputs[0] * float("inf") if len(calls) == 3 else None

    run.net.register_forward_pre_hook(poison_third)
    before = state(run.net)
    net, progress = Trainer(run).train()
    assert (len(calls), progress.step, progress.skipped) == (4, 4, 1)
    for network in (run.net, net):
        assert all(bool(tensor.isfinite().all()) for tensor in state(network).values())
        assert "backbone.features.0.1.running_mean" in differing(before, state(network))


def test_a_batch_in_parts_gives_the_losses_of_the_whole(make_run: Make) -> None:
    runs = [make_run(f"parts{n}", accumulate=n, freeze_batch_norm=True, ema=0.0, epochs=1) for n in (1, 4)]
    nets = [Trainer(run).train()[0] for run in runs]
    losses = [[float(row["loss"]) for row in rows(run.folder)] for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(nets[1].state_dict(), nets[0].state_dict(), atol=2e-3, rtol=1e-2)


def test_tensorboard_gets_the_numbers_of_the_curves(make_run: Make) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = replace(make_run(epochs=1), tensorboard=True)
    Trainer(run).train()
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss")]
    assert losses == [(int(row["epoch"]), pytest.approx(float(row["loss"]), rel=1e-4)) for row in rows(run.folder)]


def test_the_average_of_a_short_training_forgets_how_it_began(make_run: Make) -> None:
    """60 steps at a decay of 0.99 would leave more than half of the first."""
    run = make_run(ema=0.99)
    optimization = Optimization(run.net, run.recipe, 60, run.device)
    assert optimization.average is not None
    for step in range(60):
        for parameter in run.net.parameters():
            parameter.data.fill_(float(step == 0))
        optimization.average.update_parameters(run.net)
    assert next(optimization.result.parameters()).flatten()[0] < 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": 0.9, "dropout": True},
        {"lovasz_weight": 1.0, "dice_weight": 1.0, "rare_share": 0.5, "rotation": 20.0, "quarter_turns": 0.5},
    ],
    ids=["averaged with dropout", "with rare crops, turns and all losses"],
)
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(make_run: Make, changes: dict[str, Any]) -> None:
    """And no row of the curves is lost."""
    whole_run = make_run("whole", **changes)
    whole, _ = Trainer(whole_run).train()
    with pytest.raises(ZeroDivisionError):
        Trainer(replace(make_run("broken", **changes), evaluate_every=2)).train(lambda net: {"mean_iou": 1 / 0})
    run = make_run("broken", **changes)
    network, progress = Trainer(run).train()
    assert (progress.epoch, progress.step) == (2, 4)
    assert differing(state(whole), state(network)) == []
    actual, expected = ([(row["epoch"], row["loss"]) for row in rows(each.folder)] for each in (run, whole_run))
    assert actual == expected


def test_a_folder_of_another_training_or_without_its_states_is_refused(make_run: Make) -> None:
    """Corrected labels are other data, though the files' names are the same."""
    run = make_run(epochs=2)
    Trainer(run).train()
    with pytest.raises(ValueError, match="other teacher;"):
        Trainer(replace(make_run(epochs=2), origin={"teacher": "another"})).train()
    path = run.survey.split.frames[0].mask
    before = path.read_bytes()
    with Image.open(path) as mask:
        mirror_mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirror_mask.save(path)
    try:
        with pytest.raises(ValueError, match="other frames; give another --out"):
            Trainer(replace(run, net=make_run().net, survey=survey_all([run.survey.split])[0])).train()
    finally:
        path.write_bytes(before)
    content = torch.load(run.folder / FILE, weights_only=True)
    torch.save(content | {"states": {"x": 1}}, run.folder / FILE)
    with pytest.raises(ValueError, match=r"checkpoint\.pt does not hold the states of this training: 'net'; remove it"):
        Trainer(make_run(epochs=2)).train()


def test_a_training_that_is_done_goes_on_for_more_epochs_alone_by_their_schedule(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(make_run(epochs=1, power=1.0, ema=0.0)).train()
    run = make_run(epochs=2, power=1.0, ema=0.0)
    net, progress = Trainer(run).train()
    assert (progress.epoch, progress.step, progress.went_on_from) == (2, 4, [1])
    assert [row["epoch"] for row in rows(run.folder)] == ["1", "2"]
    _, again = Trainer(make_run(epochs=3, power=1.0, ema=0.0)).train()
    assert (again.epoch, again.step, again.went_on_from) == (3, 6, [1, 2])
    assert Trainer(make_run(epochs=3, power=1.0, ema=0.0)).train()[1] == again
    assert "is done, nothing is left to train" in capsys.readouterr().out
    assert differing(state(net), state(Trainer(make_run("at once", epochs=2, power=1.0, ema=0.0)).train()[0]))
