"""How many images a second one front process can feed: a network that costs almost no time, and up to 64 clients."""

from __future__ import annotations

from benchmarks.benches.former import narrow_weights
from benchmarks.harness.images import ONE_MEGAPIXEL, SMALL, photos
from benchmarks.harness.load import Sample, load
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import image_variables, service
from model.inference.cores import available_cores

CLIENTS = (1, 4, 16, 64)
TEXT = """\
A narrow network, whose tiles cost almost no time, on {cores} cores: masks of JPEGs, by the number of clients. The
event loop is the front process's first thread. One second divided by its CPU time for an image is the highest rate of one
front process, however many cores the workers and the network have."""


def run(*, quick: bool) -> Section:
    rows: list[Row] = []
    ratios: list[Ratio] = []
    seconds = 4.0 if quick else 5.0  # 64 clients must have answers on a busy machine, too
    with narrow_weights() as narrow:
        for size in (SMALL, ONE_MEGAPIXEL):
            name = f"{size[0]}x{size[1]}"
            with service(environment=image_variables(), weights=narrow, device="cpu") as server:
                images = [Sample(data, None) for data in photos([size])]
                load(server.url, images, connections=16, seconds=min(2.0, seconds))
                for clients in CLIENTS:
                    before = server.main_thread_seconds()
                    result = load(server.url, images, connections=clients, seconds=seconds)
                    loop_seconds = server.main_thread_seconds() - before
                    if result.failures or result.errors or not result.answers:
                        raise RuntimeError(f"{name}, {clients} clients: {result.failures} failures, {result.errors} errors")
                    count = len(result.answers)
                    rows.append(Row.of(f"{name}, {clients} clients", [count / result.seconds], "images/s"))
                    rows.append(Row.of(f"{name}, {clients} clients, event loop an image", [1000 * loop_seconds / count], "ms"))
            ratios.append(Ratio(f"{name}: images a second that one event loop can feed", count / loop_seconds))
    return Section("One front process", TEXT.format(cores=available_cores()), rows, ratios)
