"""A worker's limit on processor time begins when it is set, whatever the clocks of the process say."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.checkout import ROOT
from tests.support.polling import HANG_S

PROGRAM = """
import time
from model.inference.processes.confinement import limit, unlimit, unlimit_cpu

def burn(seconds):
    start = clock()
    while clock() - start < seconds:
        pass

clock = time.process_time
burn(1)
time.process_time = lambda: 0.0  # a clock that lies a second behind the system's
limit(1 << 30, 0.5)
burn(0.1)
for end in (unlimit_cpu, unlimit):
    end()
    burn(0.6)
    limit(1 << 30, 0.5)
print("within", flush=True)
burn(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits are kept by Linux alone")
def test_time_before_the_limit_does_not_count_and_time_after_it_does() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, cwd=ROOT, timeout=HANG_S)
    assert (run.stdout.split(), run.returncode) == ([b"within"], -signal.SIGPROF)
