"""Images a second of a bulk job: one process, and a Ray cluster of one and of two nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.harness.images import ONE_MEGAPIXEL, photos
from benchmarks.harness.results import Ratio, Row, Section
from model.inference.cores import available_cores

FEW, MANY = 60, 360
JOBS = ("one process", 0, 0), ("one process, one thread", 0, 1), ("one node", 1, 1), ("two nodes", 2, 1)
"""Each with its nodes of a cluster, and the threads of its network; 0 threads: one for each core."""
STORE_BYTES = 80 << 20
LONGEST_S = 1800
TEXT = f"""\
`fcn-segment` and `fcn-bulk` write the masks of JPEGs of one megapixel from a folder to another, {FEW} and {MANY} images. The
rate is that of the difference, without the start. A node is a process with one CPU on this machine of {{cores}} cores; its
actor has one thread for the network."""


def run(*, quick: bool) -> Section:
    few, many = (4, 12) if quick else (FEW, MANY)
    rows: list[Row] = []
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folders = {count: _folder(Path(name, str(count)), count) for count in (few, many)}
        for job, nodes, threads in JOBS:
            with cluster(nodes) if nodes else nullcontext("") as address:
                address_words = ["--address", address, "--min-actors", str(nodes), "--max-actors", str(nodes)] if nodes else []
                words = [*address_words, "--threads", str(threads)]
                seconds = {count: _seconds("bulk" if nodes else "segment", folder, words) for count, folder in folders.items()}
            rates[job] = (many - few) / (seconds[many] - seconds[few])
            rows.append(Row.of(job, [rates[job]], "images/s"))
            rows.append(Row.of(f"{job}, {few} images with the start", [seconds[few]], "s"))
    ratios = [
        Ratio("images a second, one node / one process of one thread", rates["one node"] / rates["one process, one thread"]),
        Ratio("images a second, two nodes / one process", rates["two nodes"] / rates["one process"]),
    ]
    return Section("Bulk", TEXT.format(cores=available_cores()), rows, ratios)


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """The address of a cluster of this many nodes with one CPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    ray_cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE_BYTES})
    try:
        for _ in range(nodes - 1):
            ray_cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield ray_cluster.address
    finally:
        ray_cluster.shutdown()


def _folder(folder: Path, count: int) -> Path:
    folder.mkdir()
    images = photos([ONE_MEGAPIXEL])
    for index in range(count):
        (folder / f"{index:04}.jpg").write_bytes(images[index % len(images)])
    return folder


def _seconds(command: str, folder: Path, words: Sequence[str]) -> float:
    """Wall-clock seconds of the command for all images of the folder. Raises `CalledProcessError`."""
    out = folder.with_name("out")
    shutil.rmtree(out, ignore_errors=True)
    code = f"import sys; from cli.start import {command}; sys.exit({command}())"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(folder), "-o", str(out), *words], check=True, timeout=LONGEST_S)
    return time.perf_counter() - start
