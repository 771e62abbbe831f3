"""How OpenMP's helpers wait, which is settled before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = "import sys, os, {package}; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"


def shown(package: str, **variables: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", SHOW.format(package=package)]
    return subprocess.run(command, env=clean | variables, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("package", ["model", "app", "cli", "training", "benchmarks"])
def test_helpers_wait_briefly_whatever_is_imported_first(package: str) -> None:
    assert shown(package) == "False 10000"


def test_what_the_operator_sets_stands() -> None:
    assert shown("app", GOMP_SPINCOUNT="7") == "False 7"
    assert shown("app", OMP_WAIT_POLICY="passive") == "False None"
