"""The service with its default settings: what an image costs, answers a second, stages of a lone request, and memory."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import numpy as np

from benchmarks.harness.images import ONE_MEGAPIXEL, PHOTOS, command_line, photo, photos, samples
from benchmarks.harness.load import Sample, load
from benchmarks.harness.processor_time import ProcessorTime
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import ROOT, PeakMemory, Server, service
from model.inference.cores import available_cores
from model.inference.loading import load_runtime
from model.inference.merging import Logits
from model.inference.plan import Options
from model.inference.runtime import Tile
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files

CLIENTS = (1, 16, 64)
COST_CLIENTS = 16
WARM_UP = 10  # images of `Segmenter` alone
MIXED_CLIENTS = 16
MIXED_PHOTOS = 2000
MIXED_SIZES = 60
SIDES = (200, 3000)  # shortest and longest of the mixed sizes
MOST_IDLE_MB, MOST_AFTER_MB, MOST_AT_ALL_MB = 350, 512, 512
MOST_CPU, MOST_LONE, MOST_LOOP_MS, MOST_WORKERS_MS = 1.15, 1.20, 2.5, 1.5
STEPS = ("network", "decode", "encode", "rest")
TEXT = f"""\
Masks of JPEGs of one megapixel (1152x864), wrk on the same cores, each turn with a new service. Every answer has the bytes of
`fcn-segment`. Stages are those in the `Server-Timing` of single requests. Processor time is that of the service's processes
while 16 clients ask, divided by the answers. `Segmenter` alone runs in a process without a service: processor time with one
thread, wall time with a thread for each core. Two cores may be two threads of one, which slow each other down; so its steps are
also measured in one process for each core at once, and the workers are compared with those. Memory is the proportional set size
of all processes: idle; the peak with 16 clients; and of another service after {MIXED_PHOTOS} photos of {MIXED_SIZES} sizes from
{SIDES[0]}x{SIDES[0]} to {SIDES[1]}x{SIDES[1]}."""


def run(*, quick: bool) -> Section:
    segment = command_line()
    images = samples(segment, photos([ONE_MEGAPIXEL]))
    seconds = 4.0 if quick else 8.0  # 64 clients must have answers on a busy machine, too
    rates: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    lone_ms: list[float] = []
    idle_mb: list[float] = []
    most_mb: list[float] = []
    stages: dict[str, list[float]] = {}
    alone: dict[str, list[float]] = {"cpu": [], "wall": []}
    steps: dict[str, list[float]] = {}
    costs: list[dict[str, float]] = []
    for _ in range(1 if quick else 3):
        alone["cpu"].append(measure_alone(seconds / 2, threads=1)["cpu_ms"])
        alone["wall"].append(measure_alone(seconds / 2, threads=0)["wall_ms"])
        for step, value in measure_alone(seconds / 2, threads=1, processes=available_cores()).items():
            steps.setdefault(step.removesuffix("_ms"), []).append(value)
        with service() as server:
            idle_mb.append(server.memory_mb())
            with PeakMemory(server) as memory:
                load(server.url, images, connections=16, seconds=seconds).check()
            most_mb.append(memory.most_mb)
            for clients in CLIENTS:
                before = ProcessorTime.read(server)
                result = load(server.url, images, connections=clients, seconds=seconds).check()
                if clients == COST_CLIENTS:
                    costs.append(cost_of_an_image(ProcessorTime.read(server).since(before), len(result.answers)))
                rates[clients].append(result.rate)
                if clients == 1:
                    lone_ms.append(statistics.median(result.milliseconds()))
            for stage, values in stages_of(server, images, 5 if quick else 50).items():
                stages.setdefault(stage, []).extend(values)
    after_mb = memory_after(samples(segment, mixed_photos(6 if quick else MIXED_SIZES)), 60 if quick else MIXED_PHOTOS)
    rows = [Row.of(f"{clients} client{'s' if clients > 1 else ''}", values, "images/s") for clients, values in rates.items()]
    rows.append(Row.of("a lone request", lone_ms, "ms"))
    rows.append(Row.of("`Segmenter` alone, wall time", alone["wall"], "ms"))
    rows += [Row.of(f"of it, {stage}", values, "ms") for stage, values in stages.items()]
    rows.append(Row.of("`Segmenter` alone, processor time", alone["cpu"], "ms"))
    rows += [Row.of(f"served, processor time, {part}", [cost[part] for cost in costs], "ms") for part in costs[0]]
    rows += [Row.of(f"`Segmenter` on each core at once, {step}", steps[step], "ms") for step in ("cpu", *STEPS)]
    rows += [
        Row.of("memory, idle", idle_mb, "MB"),
        Row.of("memory, at most with 16 clients", most_mb, "MB"),
        Row.of("memory, after photos of mixed sizes", [after_mb], "MB"),
    ]
    ratios = [
        *cost_ratios(costs, lone_ms, alone),
        workers_beside_segmenter(costs, steps),
        Ratio("images a second, 64 clients / 16 clients", statistics.median(rates[64]) / statistics.median(rates[16])),
        Ratio("memory, idle, in MB", statistics.median(idle_mb), at_most=MOST_IDLE_MB),
        Ratio("memory, at most with 16 clients, in MB", max(most_mb), at_most=MOST_AT_ALL_MB),
        Ratio("memory, after photos of mixed sizes, in MB", after_mb, at_most=MOST_AFTER_MB),
    ]
    return Section("Served", TEXT, rows, ratios)


def cost_ratios(costs: list[dict[str, float]], lone_ms: list[float], alone: dict[str, list[float]]) -> list[Ratio]:
    """What the service adds to an image, by medians. costs: of `cost_of_an_image`. alone: milliseconds of `Segmenter` alone."""
    in_all, event_loop = (statistics.median(cost[part] for cost in costs) for part in ("in all", "event loop"))
    cpu, wall = (statistics.median(alone[kind]) for kind in ("cpu", "wall"))
    return [
        Ratio("processor time of an image, served / `Segmenter` alone", in_all / cpu, at_most=MOST_CPU),
        Ratio("processor time of the event loop, ms", event_loop, at_most=MOST_LOOP_MS),
        Ratio("a lone request / `Segmenter` alone, wall time", statistics.median(lone_ms) / wall, at_most=MOST_LONE),
    ]


def workers_beside_segmenter(costs: list[dict[str, float]], steps: dict[str, list[float]]) -> Ratio:
    """What the workers take beyond `Segmenter`'s own steps beside the network, by medians, in milliseconds."""
    workers = statistics.median(cost["workers"] + cost["workers, in the system"] for cost in costs)
    own = statistics.median(steps["cpu"]) - statistics.median(steps["network"])
    return Ratio("workers - `Segmenter` on each core beside its network, ms", workers - own, at_most=MOST_WORKERS_MS)


def cost_of_an_image(time: ProcessorTime, answers: int) -> dict[str, float]:
    """Milliseconds of processor time of one answer, by part of the service."""
    seconds = {
        "in all": time.total, "event loop": time.event_loop, "network": time.network, "workers": time.workers_user,
        "workers, in the system": time.workers_system,
    }  # fmt: skip
    return {part: 1000 * value / answers for part, value in seconds.items()}


def stages_of(server: Server, images: list[Sample], count: int) -> dict[str, list[float]]:
    """Sends `count` lone requests; returns the milliseconds of each stage, a value for each request."""
    stages: dict[str, list[float]] = {}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for i in range(count):
            answer = client.post("/segment", content=images[i % len(images)].body).raise_for_status()
            for stage, ms in timings(answer.headers["Server-Timing"]).items():
                stages.setdefault(stage, []).append(ms)
    return stages


def timings(header: str) -> dict[str, float]:
    """Parses a `Server-Timing` header: milliseconds by stage."""
    entries = (entry.strip().partition(";dur=") for entry in header.split(","))
    return {stage: float(ms) for stage, _, ms in entries}


def mixed_photos(count: int) -> list[bytes]:
    """Photographs of `count` sizes, the same at every call; the logarithms of their sides are uniformly distributed."""
    shortest, longest = np.log(SIDES)
    sides = np.exp(np.random.default_rng(0).uniform(shortest, longest, (count, 2)))
    return [photo(PHOTOS[i % len(PHOTOS)], (int(width), int(height))) for i, (width, height) in enumerate(sides)]


def memory_after(images: list[Sample], count: int) -> float:
    """Memory, in 10^6 bytes, of a service after it has answered at least `count` of these images."""
    with service() as server:
        answers = 0
        while answers < count:
            answers += load(server.url, images, connections=MIXED_CLIENTS, seconds=min(10, count / 20)).check().good
        return server.memory_mb()


def measure_alone(seconds: float, threads: int, processes: int = 1) -> dict[str, float]:
    """Runs `main` in new processes at once, and returns the mean of what they print.

    threads: of the network; 0 for one per core. Raises `RuntimeError` if a process fails.
    """
    command = [sys.executable, "-m", "benchmarks.benches.served", str(seconds), str(threads)]
    children = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    costs: list[dict[str, float]] = []
    for process in children:
        output, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"Segmenter in one process failed: {errors.strip()[-300:]}")
        costs.append(json.loads(output))
    return {name: statistics.mean(cost[name] for cost in costs) for name in costs[0]}


def main() -> None:
    """Prints what an image of one megapixel costs `Segmenter` without a service, in milliseconds, as JSON.

    cpu_ms: processor time, in the mean; network_ms: of it, the network. decode_ms, encode_ms: wall time of these steps, in the
    mean; rest_ms: what is left of cpu_ms. wall_ms: wall time of all, in the median. Command line: seconds, threads.
    """
    seconds, threads = float(sys.argv[1]), int(sys.argv[2])
    options = Options()
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), threads=threads))
    segmenter.warm_up(options.tile)
    images = itertools.cycle(photos([ONE_MEGAPIXEL]))
    for data in itertools.islice(images, WARM_UP):
        segmenter.segment(data, segmenter.plan(data, options))
    walls: list[float] = []
    step_seconds = dict.fromkeys(("network", "decode", "encode"), 0.0)

    def run(tiles: Iterator[Tile]) -> Iterator[Logits]:
        logits = segmenter.run(tiles)
        while True:
            start = time.process_time()
            item = next(logits, None)
            step_seconds["network"] += time.process_time() - start
            if item is None:
                return
            yield item

    cpu, end = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        data, start = next(images), time.perf_counter()
        output = segmenter.segment(data, segmenter.plan(data, options), run)
        walls.append(1000 * (time.perf_counter() - start))
        for stage in ("decode", "encode"):
            step_seconds[stage] += output.seconds[stage]
    step_seconds["cpu"] = time.process_time() - cpu
    step_seconds["rest"] = step_seconds["cpu"] - step_seconds["network"] - step_seconds["decode"] - step_seconds["encode"]
    costs = {f"{step}_ms": 1000 * step_seconds[step] / len(walls) for step in ("cpu", *STEPS)}
    print(json.dumps(costs | {"wall_ms": statistics.median(walls)}))


if __name__ == "__main__":
    main()
