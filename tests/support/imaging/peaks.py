"""Work in a process of its own, whose peak of memory is then that work's. Linux alone tells it, in /proc."""

from __future__ import annotations

import subprocess
import sys

from tests.support.checkout import ROOT
from tests.support.polling import HANG_S

RESIDENT = """
def resident(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))
"""


def printed(program: str, *arguments: str, data: bytes = b"") -> str:
    """What a program prints that gets these arguments and bytes; `resident("VmRSS")` in it are its bytes, `VmHWM` the most."""
    command = [sys.executable, "-c", RESIDENT + program, *arguments]
    return subprocess.run(command, input=data, capture_output=True, cwd=ROOT, check=True, timeout=HANG_S).stdout.decode()
