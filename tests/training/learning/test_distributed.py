"""Two processes of torchrun against one: the same losses and weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.weights_file import load_weights
from tests.support.checkout import ROOT
from tests.support.polling import LONGEST_S
from tests.support.training.invocations import on_shapes
from tests.support.training.runs import rows
from training.commands.train import main
from training.data.demo import write_demo_data

pytestmark = pytest.mark.long


def test_two_gloo_processes_train_as_one(tiny_recipe: Path, tmp_path: Path) -> None:
    write_demo_data(tmp_path / "data", train=16, val=2)
    extra = [word for each in ("batch=12", "accumulate=4", "freeze_batch_norm=true") for word in ("--set", each)]
    one, two = (on_shapes(tmp_path / "data", tiny_recipe, tmp_path / out, "--epochs", "3", *extra) for out in ("one", "two"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "training.commands.train", *two]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("epoch 3/3: loss") == 1
    assert main(one) == 0
    expected, losses = ([float(row["loss"]) for row in rows(tmp_path / out)] for out in ("one", "two"))
    assert losses == pytest.approx(expected, rel=1e-4)
    facts = load_weights(tmp_path / "two" / "fcn.safetensors").manifest.training
    assert facts["command"].startswith("torchrun --nproc-per-node 2 -m training.commands.train --data ")
    of_one, of_two = (load_weights(tmp_path / out / "fcn.safetensors").tensors for out in ("one", "two"))
    for name, tensor in of_one.items():
        np.testing.assert_allclose(of_two[name], tensor, atol=2e-3, rtol=1e-2)
