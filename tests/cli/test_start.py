"""Where the commands start: Ctrl-C is a line from the first moment on, and nothing of ours is imported by the script itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib

import pytest

from cli.start import ended_at_once
from tests.support.checkout import ROOT
from tests.support.variants import long

SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
SERVING = {"fcn-serve", "fcn-segment"}  # which need no PyTorch
# an import of a module of ours that takes for ever, once it has been told of on stdout
SLOW = """
import sys, time
from {module} import {function}

class Slow:
    def find_spec(name, path=None, target=None):
        if name.endswith(("main", "command", "export")):
            print(name, flush=True)
            while True:
                try:
                    time.sleep(1)
                except BaseException as error:
                    raise ImportError("initialization failed") from error

sys.meta_path.insert(0, Slow)
sys.exit({function}())
"""


def test_scripts_import_the_standard_library_alone() -> None:
    (module,) = {script.partition(":")[0] for script in SCRIPTS.values()}
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    standard_names = {*sys.stdlib_module_names, *sys.builtin_module_names, "__main__", module.partition(".")[0]}
    assert {name.partition(".")[0] for name in run.stdout.split()} <= standard_names
    ours = {"app", "cli", "common", "imaging", "model", "training"}
    assert [name for name in run.stdout.split() if name.partition(".")[0] in ours] == [module.partition(".")[0], module]


@pytest.mark.parametrize(
    "name",
    ["fcn-segment", *long(*sorted(set(SCRIPTS) - {"fcn-segment"}))],
)
def test_ctrl_c_while_a_command_is_imported_is_a_line(name: str) -> None:
    """Also where a package makes another error of it."""
    module, function = SCRIPTS[name].split(":")
    program, pipe = SLOW.format(module=module, function=function), subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert (process.returncode, error) == (130, f"{name}: interrupted\n")


def test_where_ctrl_c_is_ignored_or_handled_it_stays_so() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler in (signal.SIG_IGN, interrupt):
            signal.signal(signal.SIGINT, handler)
            with ended_at_once("a command"):
                assert signal.getsignal(signal.SIGINT) is handler
            assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with ended_at_once("a command"):
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_command_whose_packages_are_missing_says_so_in_a_line() -> None:
    program = "import sys; sys.modules['torch'] = None; from cli.start import train; sys.exit(train())"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert run.stderr.startswith("fcn-train: torch")
    assert " -m pip install " in run.stderr


def test_help_and_version_need_no_extra() -> None:
    """In one process, which imports once what the commands have in common."""
    program = """
import sys
from importlib import import_module
sys.modules |= dict.fromkeys(["torch", "matplotlib", "onnx", "nncf", "yaml", "ray", "pyarrow"])
for name, module, function in [script.split(":") for script in sys.argv[1:]]:
    for option in ("--help", "--version"):
        sys.argv = [name, option]
        try:
            status = getattr(import_module(module), function)()
        except SystemExit as end:
            status = end.code
        if status:
            sys.exit(f"{name} {option}: {status}")
"""
    names = sorted(set(SCRIPTS) - SERVING)
    words = [sys.executable, "-c", program, *(f"{name}:{SCRIPTS[name]}" for name in names)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    for name in names:
        assert any(line.startswith(f"usage: {name}") for line in lines)
        assert any(line.startswith(f"{name} ") for line in lines)
