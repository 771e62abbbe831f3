"""Two processes of torchrun against one: the same losses and weights."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from model.weights_file import load_weights
from tests.support.checkout import ROOT
from tests.support.polling import LONGEST_S
from tests.support.training.runs import TINY_RECIPE
from training.commands.train import main
from training.data.demo import write_demo_data
from training.learning.distributed import World, join

pytestmark = pytest.mark.long


def losses(folder: Path) -> list[float]:
    with (folder / "curves.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_two_gloo_processes_train_as_one(tmp_path: Path) -> None:
    batch, accumulate = 12, 4
    write_demo_data(tmp_path / "data", train=16, val=2)
    recipe = tmp_path / "recipe.toml"
    changes = f"batch = {batch}\naccumulate = {accumulate}\nepochs = 3\nfreeze_batch_norm = true\n"
    recipe_lines = [line for line in TINY_RECIPE.splitlines() if not line.startswith(("batch", "epochs"))]
    recipe.write_text("\n".join([*recipe_lines, changes]))
    common = ["--data", str(tmp_path / "data"), "--labels", str(tmp_path / "data" / "classes.json"), "--recipe", str(recipe)]
    common += ["--device", "cpu", "--threads", "1", "--out"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "training.commands.train", *common, str(tmp_path / "two")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("epoch 3/3: loss") == 1
    assert main([*common, str(tmp_path / "one")]) == 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    facts = load_weights(tmp_path / "two" / "fcn.safetensors").manifest.training
    assert facts["command"].startswith("torchrun --nproc-per-node 2 -m training.commands.train --data ")
    one, two = (load_weights(tmp_path / name / "fcn.safetensors").tensors for name in ("one", "two"))
    for name, tensor in one.items():
        np.testing.assert_allclose(two[name], tensor, atol=2e-3, rtol=1e-2)


def test_a_process_alone_is_a_world_of_one() -> None:
    with join(torch.device("cpu")) as (world, device):
        assert (world, device) == (World(0, 1), torch.device("cpu"))
        assert world.first
        assert world.sum(torch.tensor(3)).item() == 3
        assert world.from_first(lambda: "made here") == "made here"
        world.wait()
