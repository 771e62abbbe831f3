"""On a GPU: the network alone against the measured peak, and images a second from JPEG to mask."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.images import photos, samples, segmenter
from benchmarks.load import available, load
from benchmarks.models import gflops
from benchmarks.results import Ratio, Row, Section
from benchmarks.served import in_process
from benchmarks.serving import service
from model.builder import build
from model.graphs import Recorder
from model.labels import numbered_labels
from model.predictor import Predictor
from model.preprocessing import Preprocessing
from model.weights_file import DEFAULT_WEIGHTS, Manifest, Weights, find_weights, load_weights, save_weights

TILE = (384, 480)
SMALL = (500, 375)
BATCHES = (1, 8, 32)
TEXT = """\
Tiles of 384x480 in bfloat16, copied as uint8 from pinned memory, back as averaged scores; networks alone by CUDA events.
The peak is an 8192x8192x8192 bfloat16 product of random numbers. VGG16 is the paper's FCN-8s with random weights (its
speed does not depend on them). Images are 500x375 JPEGs, answered as masks, every answer compared."""


def run(*, quick: bool) -> Section | None:
    """None without a GPU: what was found last stays."""
    if not torch.cuda.is_available():
        return None
    repeats = 3 if quick else 20
    peak = peak_tflops(repeats)
    rows, ratios = [Row.of("bfloat16 peak", peak, "TFLOP/s")], []
    for name, weights in (("MobileNetV2", load_weights(find_weights(DEFAULT_WEIGHTS))), ("VGG16", vgg16())):
        work = gflops(weights.manifest.architecture)
        for kind, run_batch in networks(weights).items():
            for batch in BATCHES:
                tiles = [1000 * batch / ms for ms in milliseconds(run_batch, batch, repeats)]
                rows.append(Row.of(f"{name} FCN-8s, {kind}, batch {batch}", tiles, "tiles/s"))
                share = statistics.median(tiles) * work / 1000 / statistics.median(peak)
                if batch == BATCHES[-1]:
                    ratios.append(Ratio(f"{name}, {kind}, batch {batch}: share of the peak", share))
    images, found = end_to_end(quick=quick)
    return Section("GPU", TEXT, rows + images, ratios + found)


def peak_tflops(repeats: int) -> list[float]:
    one, other = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return [2 * 8192**3 / ms / 1e9 for ms in timed(lambda: one @ other, repeats)]


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds between CUDA events, after three calls that are not counted."""
    found = []
    for turn in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        if turn >= 3:
            found.append(start.elapsed_time(end))
    return found


def vgg16() -> Weights:
    net = build("fcn8s", "vgg16", 21)
    labels = numbered_labels([str(i) for i in range(21)])
    with tempfile.TemporaryDirectory() as folder:
        save_weights(Path(folder) / "vgg16.safetensors", net, Manifest(net.architecture, labels, Preprocessing(), "-"))
        return load_weights(Path(folder) / "vgg16.safetensors")


def networks(weights: Weights) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """The network launched kernel by kernel, recorded, and compiled."""
    predictor = Predictor(weights, "cuda")
    compiled = torch.compile(predictor._scores, mode="max-autotune-no-cudagraphs")
    return {"eager": predictor._scores, "graphs": Recorder(predictor._scores), "compiled, graphs": Recorder(compiled)}


@torch.inference_mode()
def milliseconds(run_batch: Callable[[torch.Tensor], torch.Tensor], batch: int, repeats: int) -> list[float]:
    tiles = torch.randint(0, 256, (batch, *TILE, 3), dtype=torch.uint8, device="cuda")
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        return timed(lambda: run_batch(tiles), repeats)


def end_to_end(*, quick: bool) -> tuple[list[Row], list[Ratio]]:
    seconds = 1.0 if quick else 6.0
    rows, ratios = [], []
    for graphs in (False, True):
        segment = segmenter("--device", "cuda", *(["--cuda-graphs"] if graphs else []))
        kind = "graphs" if graphs else "eager"
        images = samples(segment, photos([SMALL]))
        for threads in (8, 16, 32):
            rates = [in_process(segment, images, seconds, threads) for _ in range(3)]
            rows.append(Row.of(f"in process, {kind}, {threads} threads", rates, "images/s"))
        if available():
            with service(device="cuda", cuda_graphs=graphs, max_batch_tiles=32) as server:
                load(server.url, images, connections=32, seconds=2)
                for clients in (1, 64, 256):
                    found = [load(server.url, images, connections=clients, seconds=seconds) for _ in range(3)]
                    rows.append(Row.of(f"served, {kind}, {clients} clients", [each.rate for each in found], "images/s"))
                    rows.append(Row.of(f"served, {kind}, {clients} clients, median", [each.p50 for each in found], "ms"))
                    if wrong := sum(each.wrong for each in found):
                        ratios.append(Ratio(f"served, {kind}, {clients} clients: wrong answers", wrong, at_most=0))
    return rows, ratios
