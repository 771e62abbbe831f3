"""Threads of PyTorch sleep while they wait: the variable is set before PyTorch is imported, whichever way a process starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.checkout import ROOT

# prints the variable when PyTorch is first looked for, and ends the process
WATCH = """
import os, runpy, sys

class Watch:
    def find_spec(name, path=None, target=None):
        if name == "torch":
            os.write(1, os.environ.get("OMP_WAIT_POLICY", "not set").encode())
            os._exit(0)

sys.meta_path.insert(0, Watch)
"""
STARTS = {
    "fcn-train": "from cli.start import train; train()",
    "torchrun": "runpy.run_module('training.commands.train', run_name='__main__')",
    "python -m": "runpy.run_module('training.commands.evaluate', run_name='__main__')",
    "the plan and the networks of fcn-check": "import training.commands.check_network",
    "the narrow network of the benches": "import benchmarks.harness.narrow",
    "a part of the training alone": "import training.learning.run",
    "the torch runtime": "import model.inference.runtimes.torch_runtime",
}


def policy(start: str, value: str | None) -> str:
    """The variable's value when the start imports PyTorch; value: what the user has set."""
    environment = {name: text for name, text in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": value} if value else {}
    command = [sys.executable, "-c", WATCH + start]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return run.stdout


@pytest.mark.torch
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_threads_are_told_to_sleep_before_pytorch_is_imported(start: str) -> None:
    assert policy(start, None) == "PASSIVE"


@pytest.mark.torch
def test_a_value_of_the_user_stays() -> None:
    assert policy(STARTS["fcn-train"], "ACTIVE") == "ACTIVE"
