"""Whose processor time is counted where."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import psutil
import pytest

from benchmarks.benches.served import cost_of_an_image
from benchmarks.harness.processor_time import ProcessorTime
from benchmarks.harness.serving import Server
from tests.support.polling import wait_until

BUSY_S = 0.3
# spends BUSY_S of processor time in one of: its first thread, another thread, a child, a child that ends
PROGRAM = textwrap.dedent(f"""
    import subprocess, sys, threading, time
    def spend():
        while time.process_time() < {BUSY_S}:
            sum(range(100_000))
    def wait():
        print("done", flush=True)
        sys.stdin.read()
    child = f"import time\\nwhile time.process_time() < {BUSY_S}: sum(range(100_000))\\nprint('done', flush=True)\\n"
    match sys.argv[1]:
        case "event_loop":
            spend()
        case "network":
            thread = threading.Thread(target=spend)
            thread.start()
            thread.join()
        case "workers_user":
            process = subprocess.Popen([sys.executable, "-c", child + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            process.stdout.readline()
    wait()
""")


def time_of(part: str) -> ProcessorTime:
    process = psutil.Popen([sys.executable, "-c", PROGRAM, part], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        server = Server("", process)
        wait_until(lambda: ProcessorTime.read(server).total >= 0.8 * BUSY_S)  # the system counts in ticks
        return ProcessorTime.read(server).since(ProcessorTime(0, 0, 0, 0))
    finally:
        process.communicate(b"")


@pytest.mark.long
def test_time_is_counted_by_process_and_thread() -> None:
    for part in ("event_loop", "network", "workers_user"):
        time = time_of(part)
        others = time.total - getattr(time, part) - time.event_loop * (part != "event_loop")
        assert getattr(time, part) > 0.5 * BUSY_S, (part, time)
        assert others < 0.5 * BUSY_S, (part, time)


def test_the_cost_of_an_image_is_the_time_divided_by_the_answers() -> None:
    cost = cost_of_an_image(ProcessorTime(1, 2, 3, 4), 100)
    assert cost == {"in all": 100, "event loop": 10, "network": 20, "workers": 30, "workers, in the system": 40}
