"""What the training commands share: one line for what is wrong, exit statuses, names in any encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from common.command_line import install_command
from tests.support.checkout import ROOT
from training.commands.command import run_command


def failing(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("no"), 2, "fcn-x: no\n"),
        (KeyboardInterrupt(), 130, "\nfcn-x: stopped\n"),
        (ModuleNotFoundError("no", name="nncf"), 2, f"fcn-x: nncf is missing: {install_command('train')}\n"),
        (ModuleNotFoundError("no", name="rasterio"), 2, f"fcn-x: rasterio is missing: {install_command('geo')}\n"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "fcn-x: memory ran out; smaller crops"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 2, "fcn-x: memory ran out"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_ends_a_command_is_a_line(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("fcn-x", failing(error)) == status
    assert capsys.readouterr().err.startswith(message)


def test_a_mistake_of_the_program_keeps_its_traceback() -> None:
    for error in (RuntimeError("shapes"), KeyError("net"), TypeError("no")):
        with pytest.raises(type(error)):
            run_command("fcn-x", failing(error))


# a class of another script, and a file's name that is not UTF-8
SCRIPT = """
import sys
from training.commands.command import run_command
sys.exit(run_command("fcn-x", lambda: print("\\U0001f343 \\udce4")))
"""


def run(stdout: int) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.run(command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, check=False, env=environment)


def test_letters_that_stdout_lacks_are_printed_as_their_codes() -> None:
    done = run(subprocess.PIPE)
    assert (done.returncode, done.stdout.strip()) == (0, b"\\U0001f343 \\udce4")


def test_a_reader_who_has_gone_ends_a_command_in_silence() -> None:
    read, write = os.pipe()
    os.close(read)
    done = run(write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_error_of_megabytes_is_one_line_that_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("fcn-import", failing(ValueError("x" * 5_000_000))) == 2
    error = capsys.readouterr().err
    assert error.endswith("x...\n")
    assert len(error) < 11_000
