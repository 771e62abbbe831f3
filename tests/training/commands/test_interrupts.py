"""Ctrl-C in the commands: status 130, one line, no traceback, and a training that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from model.weights_file import load_weights
from tests.support.checkout import ROOT
from tests.support.training.invocations import on_shapes
from training.learning.checkpoint import FILE

PROGRAM = [sys.executable, "-c", "import sys; from training.commands.train import main; sys.exit(main())"]


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_terminal_s_ctrl_c_leaves_a_checkpoint_that_is_gone_on_from(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, workers: int
) -> None:
    command = [*PROGRAM, *on_shapes(shapes, tiny_recipe, tmp_path, "--workers", str(workers), "--evaluate-every", "1")]
    # a session of its own: a terminal sends the signal to every process of it
    pipe = subprocess.PIPE
    run = subprocess.Popen([*command, "--epochs", "500"], cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    while not (tmp_path / FILE).is_file() and run.poll() is None:
        time.sleep(0.002)
    is_linux = sys.platform == "linux"
    blocking = [blocks_interrupts(process) for process in loading_processes(run.pid)] if is_linux else []
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate()
    assert blocking == [True] * (workers if is_linux else 0)  # a loader that ends first would end the training with its error
    assert run.returncode == 130
    assert "Traceback" not in errors
    best, last = (tmp_path / f"fcn-{kind}.safetensors" for kind in ("best", "last"))
    assert f"the same command resumes after the last finished epoch ({tmp_path}); weights so far: {best}, {last}" in errors
    epoch = torch.load(tmp_path / FILE, weights_only=True)["progress"]["epoch"]
    assert 1 <= epoch < 500
    assert load_weights(last).manifest.training["epochs"] in (epoch, epoch + 1)  # they are written before the checkpoint


def loading_processes(training: int) -> list[psutil.Process]:
    """The processes that load data for a training, without that which tracks their shared memory."""
    children = psutil.Process(training).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


def blocks_interrupts(process: psutil.Process) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk")]
    return bool(mask >> (signal.SIGINT - 1) & 1)
