"""Decoding in a process of its own, whose peak of memory is then that decoding's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from tests.support.checkout import ROOT
from tests.support.polling import HANG_S

PROGRAM = """
import sys
from imaging.decoding import Limits, OpenImage
from imaging.errors import ImageError

def resident(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))

data, working = sys.stdin.buffer.read(), tuple(int(word) for word in sys.argv[1:]) or None
before, promised = resident("VmRSS"), 0
try:
    image = OpenImage(data, Limits())
    promised = image.decoding_bytes(working)
    outcome = "x".join(map(str, image.decode(working).pixels.shape))
except ImageError as error:
    outcome = type(error).__name__
print(outcome, promised, resident("VmHWM") - before)
"""


@dataclass(frozen=True)
class Outcome:
    """result: the array's shape, or the error's name; promised_bytes, peak_bytes: of memory."""

    result: str
    promised_bytes: int
    peak_bytes: int


def decode_apart(data: bytes, *working_size: int) -> Outcome:
    """What becomes of these bytes within the default limits."""
    command = [sys.executable, "-c", PROGRAM, *map(str, working_size)]
    run = subprocess.run(command, input=data, capture_output=True, cwd=ROOT, check=True, timeout=HANG_S)
    result, promised_bytes, peak_bytes = run.stdout.decode().split()
    return Outcome(result, int(promised_bytes), int(peak_bytes))
