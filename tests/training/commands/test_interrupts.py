"""Ctrl-C in the commands: status 130, one line, no traceback, and a training that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.support.checkout import ROOT
from tests.support.training.invocations import on_shapes
from training.commands import train as train_command
from training.learning.checkpoint import FILE

PROGRAM = [sys.executable, "-c", "import sys; from training.commands.train import main; sys.exit(main())"]


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_training_says_whether_the_same_command_goes_on(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_command, "train", interrupt)
    arguments = on_shapes(shapes, tiny_recipe, tmp_path)
    assert train_command.main(arguments) == 130
    assert "fcn-train: stopped; the same command begins again" in capsys.readouterr().err.splitlines()[-1]
    (tmp_path / FILE).touch()
    assert train_command.main(arguments) == 130
    assert (
        "fcn-train: stopped; the same command resumes after the last finished epoch" in capsys.readouterr().err.splitlines()[-1]
    )


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_terminal_s_ctrl_c_leaves_a_checkpoint_that_is_gone_on_from(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, workers: int
) -> None:
    command = [*PROGRAM, *on_shapes(shapes, tiny_recipe, tmp_path, "--workers", str(workers))]
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
    assert "the same command resumes" in errors
    progress = torch.load(tmp_path / FILE, map_location="cpu", weights_only=True)["progress"]
    assert 1 <= progress["epoch"] < 500


def loading_processes(training: int) -> list[psutil.Process]:
    """The processes that load data for a training, without that which tracks their shared memory."""
    children = psutil.Process(training).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


def blocks_interrupts(process: psutil.Process) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk")]
    return bool(mask >> (signal.SIGINT - 1) & 1)
