"""Memory that is free again is kept for the next image."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# an image's arrays made and let go, over and over, in a thread: how many pages the system had to give for them
PAGES = """
import resource, threading
import numpy as np
from model.memory import keep_freed_memory

def images():
    for _ in range(20):
        kept = [np.ones(size << 20, np.uint8) for size in (9, 9, 8)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    images()
    before = faults()
    images()
    print(faults() - before)

keep_freed_memory()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other settings")


def pages(**variables: str) -> int:
    command = [sys.executable, "-c", PAGES]
    result = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=True)
    return int(result.stdout)


def test_what_an_image_leaves_is_kept_for_the_next() -> None:
    assert pages() < 200


def test_a_variable_that_is_set_stays() -> None:
    assert pages(MALLOC_TRIM_THRESHOLD_="65536") > 1000
