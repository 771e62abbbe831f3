"""Two processes of torchrun against one: the same losses and weights."""

from __future__ import annotations

import csv
import os
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


@pytest.mark.parametrize(("batch", "accumulate"), [(4, 1), (12, 4)])
def test_two_gloo_processes_train_as_one(tmp_path: Path, batch: int, accumulate: int) -> None:
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


def test_several_processes_leave_out_one_group_after_the_other(tmp_path: Path) -> None:
    write_demo_data(tmp_path / "data", train=14, val=2)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY_RECIPE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += [
        "training.commands.train",
        "--data",
        str(tmp_path / "data"),
        "--labels",
        str(tmp_path / "data" / "classes.json"),
    ]
    command += ["--recipe", str(recipe), "--epochs", "1", "--batch", "2", "--device", "cpu", "--threads", "1"]
    command += ["--group", "each", "--group-pattern", r"train_0(\d)", "--out", str(tmp_path / "out")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert run.returncode == 0, run.stderr
    assert "mean of 2 groups: " in run.stdout


COUNTS_OPENS = """
import os, sys
from pathlib import Path
from training.commands.train import main

data, log = Path(sys.argv[1]), Path(sys.argv[2])
names = []

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)) and data in Path(arguments[0]).parents:
        names.append(Path(arguments[0]).name)

sys.addaudithook(hook)
status = main(sys.argv[3:])
log.with_name(f"opens{os.environ['RANK']}").write_text("\\n".join(names))
sys.exit(status)
"""


def test_the_first_process_reads_the_data_for_all(tmp_path: Path) -> None:
    """Without epochs, so that no batch is read."""
    data, script = tmp_path / "data", tmp_path / "counts.py"
    write_demo_data(data, train=8, val=2)
    script.write_text(COUNTS_OPENS)
    (tmp_path / "recipe.toml").write_text(TINY_RECIPE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    command += [str(data), str(tmp_path / "opens"), "--data", str(data), "--labels", str(data / "classes.json")]
    command += ["--recipe", str(tmp_path / "recipe.toml"), "--set", "class_weights='median'"]
    command += ["--epochs", "0", "--device", "cpu", "--threads", "1", "--out", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert run.returncode == 0, run.stderr
    first, second = ((tmp_path / f"opens{rank}").read_text().split() for rank in range(2))
    train_files = sorted(f"train_{index:03}.{ending}" for index in range(8) for ending in ("jpg", "png"))
    assert sorted(name for name in first if name.startswith("train_")) == train_files
    assert not [name for name in second if name.endswith((".jpg", ".png"))]
