"""What recipes can ask for, trained: optimizers, losses, precisions, a teacher, and every member of the family."""

from __future__ import annotations

import pytest
import torch

from tests.support.training.runs import Make, differing, rows, state
from training.learning.recipe import make_recipe
from training.learning.run import Trainer

pytestmark = pytest.mark.long


def test_a_teacher_alone_pulls_the_student_towards_it(make_run: Make) -> None:
    run = make_run(teacher=True, teacher_weight=1.0, label_weight=0.0, epochs=3, power=0.1)
    Trainer(run).train()
    losses = [float(row["loss"]) for row in rows(run.folder)]
    assert losses[-1] < losses[0]


def test_without_a_stated_precision_a_cpu_trains_in_float32(make_run: Make) -> None:
    assert make_recipe(None, {}).autocast == "auto"
    runs = {autocast: make_run(autocast, autocast=autocast) for autocast in ("auto", "none", "bfloat16")}
    auto, float32, bfloat16 = (state(Trainer(run).train()[0]) for run in runs.values())
    assert differing(auto, float32) == []
    assert differing(auto, bfloat16)


FAMILY = {
    "paper": {"backbone": "vgg16", "output_stride": 32, "head": "fc", "decoder": "padded", "score_scales": (0.01, 0.0001)}
    # a border of 100 pixels around every crop, and small steps for want of batch norm
    | {"crop": (48, 48), "batch": 2, "learning_rate": 1e-4},
    "1x1": {"backbone": "vgg16", "output_stride": 32, "head": "conv1x1", "decoder": "interpolated"},
    "1x1 shared": {"backbone": "vgg16", "output_stride": 32, "head": "conv1x1", "decoder": "shared"}
    # without batch norm and bilinear kernels, the decoder needs the larger steps that its recipe takes
    | {"learning_rate": 2e-4, "head_factor": 10.0},
    "book": {"variant": "fcn32s", "backbone": "resnet18", "output_stride": 32, "head": "none", "decoder": "transposed"},
    "learned": {"variant": "fcn16s", "backbone": "vgg16", "output_stride": 32, "head": "none", "decoder": "learned"},
    "fcn16s": {"variant": "fcn16s", "backbone": "resnet18", "output_stride": 32, "head": "fc"},
    "fcn32s": {"variant": "fcn32s", "output_stride": 32, "head": "fc", "learning_rate": 3e-3},
}


@pytest.mark.parametrize("name", FAMILY)
def test_each_member_of_the_family_learns_the_demo_data(make_run: Make, name: str) -> None:
    wide = FAMILY[name].get("backbone", "mobilenet_v2") != "mobilenet_v2"
    common = {"width": 1.0 if wide else 0.25, "epochs": 8, "ema": 0.0, "learning_rate": 5e-4, "head_factor": 1.0}
    run = make_run(**(common | FAMILY[name]))
    Trainer(run).train()
    losses = [float(row["loss"]) for row in rows(run.folder)]
    assert losses[-1] < 0.95 * losses[0]


def test_a_summed_loss_steps_as_far_as_a_rate_times_the_batch(make_run: Make) -> None:
    still = {"optimizer": "sgd", "clip_norm": 1e9, "epochs": 1, "ema": 0.0, "weight_decay": 0.0, "freeze_batch_norm": True}
    with_sum = Trainer(make_run("sum", batch_loss="sum", accumulate=2, learning_rate=1e-4, **still)).train()[0]
    mean = Trainer(make_run("mean", learning_rate=4e-4, **still)).train()[0]
    torch.testing.assert_close(state(with_sum), state(mean), atol=1e-5, rtol=1e-3)
