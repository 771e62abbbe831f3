"""Measures training steps on an idle and on a busy CPU, with OpenMP's own waiting (`default`) and with `PASSIVE`.

    python -m benchmarks.studies.busy

Each measurement is a process of its own; the four kinds run in turns. A busy CPU runs an endless loop for each core beside it.
Prints the median seconds of a step, fastest to slowest, and the loss after the last step, which must be the same for all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

POLICIES, LOADS = ("default", "PASSIVE"), ("idle", "busy")
STEPS, CROPS, CROP, CLASSES = 5, 8, (192, 256), 11
LONGEST_S = 300.0  # of a measurement, and of the loops beside it
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.busy", description="Measures training on an idle and a busy CPU.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="measure in this process alone, and print seconds and loss")
    args = parser.parse_args()
    if args.one:
        print(*train_steps())
        return 0
    seconds: dict[tuple[str, str], list[float]] = {(load, policy): [] for load in LOADS for policy in POLICIES}
    losses = set()
    for _ in range(args.rounds):
        for load, policy in seconds:
            with _loops(CORES if load == "busy" else 0):
                step_s, loss = measure(policy)
            seconds[load, policy].append(step_s)
            losses.add(loss)
    for (load, policy), values in seconds.items():
        print(f"{load} {policy}: {median(values):.3f} s a step ({min(values):.3f} to {max(values):.3f})")
    for load in LOADS:
        print(
            f"{load}: the default takes {median(seconds[load, 'default']) / median(seconds[load, 'PASSIVE']):.2f} times PASSIVE"
        )
    print(f"losses: {', '.join(map(str, sorted(losses)))}")
    return 0 if len(losses) == 1 else 1


def measure(policy: str) -> tuple[float, float]:
    """The seconds of a step, and the loss after the last, of a new process with this policy."""
    command = [sys.executable, "-m", "benchmarks.studies.busy", "--one"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": policy} if policy != "default" else {}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=LONGEST_S)
    step_s, loss = map(float, run.stdout.split())
    return step_s, loss


def train_steps() -> tuple[float, float]:
    """The mean seconds of a training step of the default network on all cores, the first step apart; and the last loss."""
    import torch
    from torch.nn.functional import cross_entropy

    from model.networks.builder import build

    torch.manual_seed(0)
    net = build("fcn8s", "mobilenet_v2", CLASSES, output_stride=16, head="pooled").train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    images, labels = torch.rand(CROPS, 3, *CROP), torch.randint(CLASSES, (CROPS, *CROP))
    begin = 0.0
    for step in range(STEPS + 1):
        if step == 1:
            begin = time.monotonic()
        optimizer.zero_grad()
        loss = cross_entropy(net(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return (time.monotonic() - begin) / STEPS, loss.item()


@contextmanager
def _loops(count: int) -> Iterator[None]:
    """Runs so many processes that loop, at most `LONGEST_S` seconds."""
    program = f"import time\nend = time.monotonic() + {LONGEST_S}\nwhile time.monotonic() < end: pass"
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
