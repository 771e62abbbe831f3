"""The training loop: schedule, averaged weights, skipped steps, curves, and going on where it stopped."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from model.architecture import Architecture
from model.builder import build_network
from model.fcn import FCN
from model.preprocessing import Preprocessing
from training.checkpoint import load_checkpoint
from training.datasets import Split
from training.recipe import Recipe, make_recipe
from training.teacher import Teacher
from training.train import Run, train

Make = Callable[..., Run]


@pytest.fixture
def make_run(shapes_split: Split, tiny_recipe: Path, tmp_path: Path) -> Make:
    """Makes a run on the generated shapes; keyword arguments change its recipe."""

    def make(name: str = "run", teacher: bool = False, dropout: bool = False, **changes: Any) -> Run:
        recipe = make_recipe(tiny_recipe, {"epochs": 2} | changes)
        torch.manual_seed(recipe.seed)
        net = build_network(recipe.architecture(4))
        if dropout:
            net.head = nn.Sequential(net.head, nn.Dropout2d(0.5))
        other = Architecture("fcn8s", "mobilenet_v2", 4, 16, "fc", 16, 0.1)
        frozen = Teacher(build_network(other), (1.0,)) if teacher else None
        return Run(net, shapes_split, recipe, Preprocessing(side=recipe.side), tmp_path / name, torch.device("cpu"), frozen)

    return make


def state(net: FCN) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    assert set(first) == set(second)
    return [name for name in first if not torch.equal(first[name], second[name])]


class Stop(Exception):
    """Ends a training in its midst."""


def stop(net: FCN) -> float:
    raise Stop


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_training_counts_its_steps_and_writes_curves_and_checkpoint(make_run: Make) -> None:
    run = make_run()
    before = state(run.net)
    net, progress = train(run)
    assert (progress.epoch, progress.step, progress.skipped) == (2, 8, 0)
    assert progress.seconds > 0
    assert {path.name for path in run.folder.iterdir()} == {"checkpoint.pt", "curves.csv", "curves.png"}
    assert "backbone.features.0.0.weight" in differing(before, state(net))
    assert "score_fr.weight" in differing(before, state(net))


def test_equal_runs_give_equal_networks_and_another_seed_another(make_run: Make) -> None:
    first, second, other = (train(make_run(name, seed=seed))[0] for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert differing(state(first), state(second)) == []
    assert len(differing(state(first), state(other))) > 100


@pytest.mark.parametrize(
    "changes",
    [{"ema": 0.0}, {"ema": 0.9}, {"ema": 0.0, "dropout": True}, {"lovasz_weight": 1.0}],
    ids=["plain", "averaged", "with dropout", "with Lovász"],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(
    make_run: Make, changes: dict[str, Any], workers: int
) -> None:
    whole, _ = train(make_run("whole", epochs=3, **changes))
    with pytest.raises(Stop):
        train(replace(make_run("broken", epochs=3, **changes), evaluate=stop, evaluate_every=2, workers=workers))
    resumed, progress = train(replace(make_run("broken", epochs=3, **changes), workers=workers))
    assert (progress.epoch, progress.step) == (3, 12)
    assert differing(state(whole), state(resumed)) == []


def test_an_interruption_loses_no_row_of_the_curves(make_run: Make) -> None:
    whole = make_run("whole", epochs=3)
    train(whole)
    interrupted = replace(make_run("broken", epochs=3), evaluate=stop, evaluate_every=2)
    with pytest.raises(Stop):
        train(interrupted)
    train(make_run("broken", epochs=3))
    found, expected = ([(row["epoch"], row["loss"]) for row in rows(run.folder)] for run in (interrupted, whole))
    assert found == expected


def test_a_training_that_is_done_is_not_trained_again(make_run: Make) -> None:
    first, done = train(make_run())
    again, progress = train(make_run())
    assert progress == done
    assert differing(state(first), state(again)) == []


def test_a_folder_of_another_recipe_is_refused(make_run: Make) -> None:
    train(make_run(epochs=1))
    with pytest.raises(ValueError, match=r"other \['recipe'\]"):
        train(make_run(epochs=2))


def test_the_result_is_the_average_and_not_the_last_network(make_run: Make) -> None:
    run = make_run(ema=0.9)
    averaged, _ = train(run)
    assert "score_fr.weight" in differing(state(averaged), state(run.net))
    plain = make_run("plain", ema=0.0)
    last, _ = train(plain)
    assert differing(state(last), state(plain.net)) == []
    assert differing(state(run.net), state(last)) == []


def test_the_learning_rate_warms_up_and_falls_to_zero(make_run: Make) -> None:
    run = make_run(epochs=4, warmup=8, power=1.0)
    train(run)
    rates = [float(row["learning_rate"]) for row in rows(run.folder)]
    base = run.recipe.learning_rate
    assert rates == pytest.approx([base * 5 / 8 * 12 / 16, base * 8 / 16, base * 4 / 16, 0], rel=1e-4)


def test_val_is_scored_as_often_as_asked_and_at_the_end(make_run: Make) -> None:
    run = replace(make_run(epochs=3), evaluate=lambda net: 0.25, evaluate_every=2)
    train(run)
    assert [row["mean_iou"] for row in rows(run.folder)] == ["", "0.25", "0.25"]


def test_frozen_batch_norm_keeps_its_statistics(make_run: Make) -> None:
    run = make_run(freeze_batch_norm=True, ema=0.0)
    before = state(run.net)
    net, _ = train(run)
    changed = differing(before, state(net))
    assert changed
    assert not [name for name in changed if "running_" in name]


def test_a_teacher_alone_pulls_the_student_towards_it(make_run: Make) -> None:
    run = make_run(teacher=True, teacher_weight=1.0, label_weight=0.0, epochs=3, power=0.1)
    train(run)
    losses = [float(row["loss"]) for row in rows(run.folder)]
    assert losses[-1] < losses[0]


def test_class_weights_change_what_is_learnt(make_run: Make) -> None:
    plain, weighted = (train(make_run(name, class_weights=name, epochs=1))[0] for name in ("none", "median"))
    assert "score_fr.weight" in differing(state(plain), state(weighted))


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")
def test_a_step_with_an_infinite_gradient_is_skipped_and_counted(make_run: Make) -> None:
    run = make_run(epochs=1, ema=0.0, freeze_batch_norm=True)
    with torch.no_grad():
        run.net.score_fr.weight.fill_(float("inf"))
    before = state(run.net)
    net, progress = train(run)
    assert progress.skipped == progress.step == 4
    assert differing(before, state(net)) == []


def test_fewer_frames_than_a_batch_are_one_batch(make_run: Make) -> None:
    _, progress = train(make_run(batch=32, epochs=2))
    assert progress.step == 2


def test_no_epochs_leave_the_network_as_it_was(make_run: Make) -> None:
    run = make_run(epochs=0, ema=0.0)
    before = state(run.net)
    net, progress = train(run)
    assert progress.step == 0
    assert differing(before, state(net)) == []


def test_the_checkpoint_says_whose_it_is(make_run: Make) -> None:
    run = make_run(epochs=1)
    train(run)
    found = load_checkpoint(run.folder, {"recipe": Recipe(**run.recipe.to_dict()).to_dict(), "frames": run.split.digest})
    assert found is not None
    assert set(found[1]) == {"net", "optimizer", "scheduler", "scaler", "average"}


def test_a_batch_in_parts_gives_the_losses_of_the_whole(make_run: Make) -> None:
    runs = [make_run(f"parts{n}", accumulate=n, freeze_batch_norm=True, ema=0.0) for n in (1, 2, 4)]
    nets = [train(run)[0] for run in runs]
    losses = [[float(row["loss"]) for row in rows(run.folder)] for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == pytest.approx(losses[0], rel=1e-4)
    for net in nets[1:]:
        torch.testing.assert_close(net.state_dict(), nets[0].state_dict(), atol=2e-3, rtol=1e-2)


def test_workers_give_the_very_same_training(make_run: Make) -> None:
    changes = {"lovasz_weight": 1.0, "dropout": True, "ema": 0.0}
    alone, helped = make_run("alone", **changes), replace(make_run("helped", **changes), workers=2)
    assert differing(state(train(alone)[0]), state(train(helped)[0])) == []


@pytest.mark.parametrize("changes", [{"optimizer": "sgd", "learning_rate": 1e-2}, {"lovasz_weight": 1.0}, {"skip_width": 8}])
def test_other_recipes_learn_too(make_run: Make, changes: dict[str, Any]) -> None:
    run = make_run(epochs=5, **changes)
    train(run)
    losses = [float(row["loss"]) for row in rows(run.folder)]
    assert losses[-1] < 0.9 * losses[0]


def test_sgd_takes_its_momentum_from_the_recipe(make_run: Make) -> None:
    one, other = (train(make_run(f"m{m}", optimizer="sgd", momentum=m, epochs=1))[0] for m in (0.0, 0.9))
    assert "score_fr.weight" in differing(state(one), state(other))


def test_bfloat16_and_float16_train_as_float32_does_roughly(make_run: Make) -> None:
    losses = {}
    for autocast in ("none", "bfloat16", "float16"):
        run = make_run(autocast, autocast=autocast, ema=0.0, freeze_batch_norm=True)
        _, progress = train(run)
        assert progress.skipped < progress.step
        losses[autocast] = float(rows(run.folder)[-1]["loss"])
    assert len(set(losses.values())) == 3
    assert losses["bfloat16"] == pytest.approx(losses["none"], rel=0.1)
    assert losses["float16"] == pytest.approx(losses["none"], rel=0.1)


def test_each_epoch_says_its_loss_and_how_long_it_waited(make_run: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = replace(make_run(), evaluate=lambda net: 0.25)
    train(run)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert f"loss {float(rows(run.folder)[1]['loss']):.4f}" in lines[1]
    assert "% of the time waiting for data, val mean IoU 0.2500" in lines[1]


def test_tensorboard_gets_the_numbers_of_the_curves(make_run: Make) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = replace(make_run(), tensorboard=True)
    train(run)
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    found = [(event.step, event.value) for event in events.Scalars("loss")]
    assert found == [(int(row["epoch"]), pytest.approx(float(row["loss"]), rel=1e-4)) for row in rows(run.folder)]


@pytest.mark.parametrize("changed", ["start", "teacher"])
def test_a_folder_of_another_origin_is_refused(make_run: Make, changed: str) -> None:
    train(replace(make_run(epochs=1), origin={"start": "none", "teacher": ""}))
    other = {"start": "none", "teacher": ""} | {changed: "another"}
    with pytest.raises(ValueError, match=rf"other \['{changed}'\]"):
        train(replace(make_run(epochs=1), origin=other))


FAMILY = {
    "paper": {"backbone": "vgg16", "output_stride": 32, "head": "fc", "decoder": "padded", "score_scales": (0.01, 0.0001)}
    # a border of 100 pixels around every crop, and small steps for want of batch norm
    | {"crop": (48, 48), "batch": 2, "learning_rate": 1e-4},
    "1x1": {"backbone": "vgg16", "output_stride": 32, "head": "conv1x1", "decoder": "interpolated"},
    "book": {"variant": "fcn32s", "backbone": "resnet18", "output_stride": 32, "head": "none", "decoder": "transposed"},
    "learned": {"variant": "fcn16s", "backbone": "vgg16", "output_stride": 32, "head": "none", "decoder": "learned"},
    "fcn16s": {"variant": "fcn16s", "backbone": "resnet18", "output_stride": 32, "head": "fc"},
    "fcn32s": {"variant": "fcn32s", "output_stride": 32, "head": "fc", "learning_rate": 3e-3},
}


@pytest.mark.parametrize("name", FAMILY)
def test_each_member_of_the_family_learns_the_demo_data(make_run: Make, name: str) -> None:
    wide = FAMILY[name].get("backbone", "mobilenet_v2") != "mobilenet_v2"
    common = {"width": 1.0 if wide else 0.25, "epochs": 4, "ema": 0.0, "learning_rate": 5e-4, "head_factor": 1.0}
    run = make_run(**(common | FAMILY[name]))
    train(run)
    losses = [float(row["loss"]) for row in rows(run.folder)]
    assert losses[-1] < 0.95 * losses[0]


def test_a_summed_loss_steps_as_far_as_a_rate_times_the_batch(make_run: Make) -> None:
    still = {"optimizer": "sgd", "clip_norm": 1e9, "epochs": 1, "ema": 0.0, "weight_decay": 0.0, "freeze_batch_norm": True}
    summed = train(make_run("sum", batch_loss="sum", accumulate=2, learning_rate=1e-4, **still))[0]
    mean = train(make_run("mean", learning_rate=4e-4, **still))[0]
    torch.testing.assert_close(state(summed), state(mean), atol=1e-5, rtol=1e-3)


def test_large_seeds_are_taken(make_run: Make) -> None:
    _, progress = train(make_run(epochs=1, seed=20_250_607_000_000))
    assert progress.step == 4


def test_a_damaged_checkpoint_is_named(make_run: Make) -> None:
    run = make_run(epochs=1)
    train(run)
    (run.folder / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged.*remove it to begin anew"):
        train(make_run(epochs=1))
