"""Measures photos beside a running job, and the rate of a job alone beside that of `fcn-segment`."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median

import httpx

from benchmarks.benches.scenes import DENSE, SEGMENT, photos_side_by_side, write_scene
from benchmarks.harness.images import ONE_MEGAPIXEL, photos
from benchmarks.harness.load import percentile
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import ROOT, Server, service

ROUNDS, SECONDS = 5, 15.0
LARGE = (10_000, 20_000)  # (height, width) of the scene that is segmented beside photos
PAUSE_S = 0.2  # mean pause of the client between two photos
TEXT = f"""\
One client sends photos of one megapixel to `/segment`, with random pauses of {PAUSE_S:g} s on average, for {SECONDS:g} s
without a job and {SECONDS:g} s beside a job on a scene of {LARGE[0] * LARGE[1] / 1e6:.0f} megapixels, {ROUNDS} times in turn.
Then the service segments a scene of {DENSE[0] * DENSE[1] / 1e6:.0f} megapixels as a job, in turn with `fcn-segment`, which
also loads the network; the job's time is from `started` to `finished`."""


def run(*, quick: bool) -> Section:
    rounds, seconds = (1, 3.0) if quick else (ROUNDS, SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        large, dense = Path(folder, "large.tif"), Path(folder, "dense.tif")
        for path, size in ((large, LARGE), (dense, DENSE)):
            write_scene(path, photos_side_by_side(*(side // (8 if quick else 1) for side in size)), compress="jpeg")
        alone, beside, jobs, commands = list[float](), list[float](), list[float](), list[float]()
        with service(jobs_dir=Path(folder, "jobs")) as server:
            photos_for(server, 2)
            for _ in range(rounds):
                alone += photos_for(server, seconds)
                job = submit(server, large)
                beside += photos_for(server, seconds)
                httpx.delete(job)
        with service(jobs_dir=Path(folder, "jobs")) as server:  # which has had no request, so that a job may use all streams
            for _ in range(rounds):
                commands.append(command_seconds(dense, Path(folder, "out.tif")))
                jobs.append(job_seconds(submit(server, dense)))
    rows = [
        Row.of("photos without a job", alone, "ms"),
        Row.of("photos beside a job", beside, "ms"),
        Row.of("fcn-segment", commands, "s"),
        Row.of("the job", jobs, "s"),
    ]
    ratios = [
        Ratio("median beside a job / without", median(beside) / median(alone), at_most=1.2),
        Ratio("99th percentile beside a job / without", percentile(beside, 99) / percentile(alone, 99), at_most=1.5),
        Ratio("rate of a job / of `fcn-segment`", median(commands) / median(jobs), at_least=0.8),
    ]
    return Section("Jobs", TEXT, rows, ratios)


def photos_for(server: Server, seconds: float) -> list[float]:
    """Milliseconds of each photo."""
    (photo,) = photos([ONE_MEGAPIXEL])[:1]
    rng, times, end = random.Random(0), list[float](), time.monotonic() + seconds
    with httpx.Client(base_url=server.url, timeout=60) as client:
        while time.monotonic() < end:
            start = time.perf_counter()
            client.post("/segment", content=photo).raise_for_status()
            times.append((time.perf_counter() - start) * 1000)
            time.sleep(rng.expovariate(1 / PAUSE_S))
    return times


def submit(server: Server, scene: Path) -> str:
    """The address of a job on this scene."""
    with scene.open("rb") as file:
        response = httpx.post(f"{server.url}/jobs", params={"output": "tif"}, content=file, timeout=60)
    return server.url + response.raise_for_status().headers["Location"]


def job_seconds(address: str) -> float:
    """Seconds from the start of the job to its end."""
    while (job := httpx.get(address).json())["status"] in ("accepted", "running"):
        time.sleep(0.2)
    if job["status"] != "successful":
        raise RuntimeError(f"the job is {job['status']}: {job['message']}")
    start, end = (datetime.fromisoformat(job[name]) for name in ("started", "finished"))
    return (end - start).total_seconds()


def command_seconds(scene: Path, out: Path) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", SEGMENT, str(scene), "-o", str(out)], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start
