"""Memory and time from a quarter to a hundred megapixels, ours and MONAI's sliding window over the same network."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import psutil
import torch
from matplotlib.figure import Figure

from benchmarks.images import photo, segmenter
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import ROOT
from imaging.decoding import Limits, decode
from imaging.encoding import mask_png
from model.merging import BandMerger
from model.predictor import Predictor
from model.tiling import plan_tiles
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights

SIDES = (500, 1000, 2000, 4000, 10000)
MONAI_MOST = 16.0  # megapixels: beyond it, its logits of the whole image do not fit beside everything else
TILE = (512, 512)
CHART = "growth.png"
TEXT = """\
One JPEG at `side=native`, tiles of 512 with an overlap of a quarter, each size in a process of its own; memory is the peak
of its proportional set size above that of the idle process with the network loaded and warm, or that of its resident set
where that is more: the first is looked at every 50 ms, of the second the system keeps the highest. MONAI's
`sliding_window_inference` runs the same network in the same precision on the decoded image and keeps all logits, as it does
by default; then argmax. Both from JPEG to PNG. Logits held are the bytes of what merging keeps, and of the band it gives."""


def run(*, quick: bool, charts: Path) -> Section:
    sides = (300, 600) if quick else SIDES
    kinds = ["ours", *(["MONAI"] if find_spec("monai") else [])]
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    for side in sides:
        for kind in kinds:
            megapixels = side * side / 1e6
            if kind == "ours" or megapixels <= MONAI_MOST:
                memory, seconds = measured(kind, side)
                found[kind].append((megapixels, memory, seconds))
    charts.mkdir(parents=True, exist_ok=True)
    draw(found, charts / CHART)
    rows = [
        row
        for kind, values in found.items()
        for megapixels, memory, seconds in values
        for row in (
            Row.of(f"{kind}, {megapixels:g} megapixels, memory", [memory], "MiB"),
            Row.of(f"{kind}, {megapixels:g} megapixels, time", [seconds], "s"),
        )
    ]
    ours = found["ours"]
    ratios = [Ratio(f"{ours[-1][0]:g} megapixels: GiB above the idle process", ours[-1][1] / 1024, at_most=1.0)]
    per_pixel = [seconds / megapixels for megapixels, _, seconds in ours]
    ratios.append(Ratio("seconds a megapixel, the largest / the middle one", per_pixel[-1] / per_pixel[len(ours) // 2]))
    for kind in kinds[1:]:
        theirs = found[kind][-1]
        same = next(value for value in ours if value[0] == theirs[0])
        ratios.append(Ratio(f"memory at {theirs[0]:g} megapixels, {kind} / ours", theirs[1] / max(same[1], 1.0)))
        ratios.append(Ratio(f"time at {theirs[0]:g} megapixels, {kind} / ours", theirs[2] / same[2]))
    held, ratios_of_logits = logits(SIDES[-1])
    return Section("Growth", TEXT, [*rows, *held], [*ratios, *ratios_of_logits], [f"results/{CHART}"])


def logits(most: int) -> tuple[list[Row], list[Ratio]]:
    """What is held of images whose longer side has so many pixels, or a tenth of them, and how that grows."""
    predictor, small = Predictor(load_weights(find_weights(DEFAULT_WEIGHTS))), most // 10
    sizes = [(small, small), (small, most), (most, small), (most, most)]
    held = {(height, width): logits_held(predictor, height, width) for height, width in sizes}
    rows = [Row.of(f"logits held, {width} wide, {height} high", [value], "MiB") for (height, width), value in held.items()]
    wider = held[most, most] / held[most, small]
    return rows, [
        Ratio(f"logits held, {most} / {small} wide, over the widths' ratio", wider * small / most, at_most=1.1),
        Ratio(f"logits held, {most} / {small} high", held[most, most] / held[small, most], at_most=1.1),
    ]


def logits_held(predictor: Predictor, height: int, width: int) -> float:
    """The most MiB of tensors that merging holds, the band it gives included."""
    plan = plan_tiles((height, width), TILE)
    merger, most = BandMerger(plan, predictor.grid), 0
    tile = torch.zeros(len(predictor.manifest.labels), *(side // predictor.stride for side in plan.tile))
    for _ in range(len(plan)):
        band = merger.add(tile)
        most = max(most, merger.nbytes + (band.logits.untyped_storage().nbytes() if band else 0))
    return most / 2**20


def measured(kind: str, side: int) -> tuple[float, float]:
    """MiB above the idle process, and seconds, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", kind, str(side)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    memory, seconds = json.loads(result.stdout.splitlines()[-1])
    return memory, seconds


def draw(found: dict[str, list[tuple[float, float, float]]], path: Path) -> None:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for column, (axes, label) in enumerate(zip(figure.subplots(1, 2), ("MiB above idle", "seconds"), strict=True), 1):
        for kind, values in found.items():
            axes.plot([value[0] for value in values], [value[column] for value in values], marker="o", label=kind)
        axes.set(xlabel="megapixels", ylabel=label, xscale="log", yscale="log")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


class Peak:
    """This process's memory from now on, in MiB above now's."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._stop = threading.Event()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # forgets the highest resident set until now
        self.resident = _status("VmRSS")
        self.idle = self.most = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _now(self) -> float:
        return float(self._process.memory_full_info().pss) / 2**20

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.most = max(self.most, self._now())

    def above_idle(self) -> float:
        self._stop.set()
        self._thread.join()
        return max(self.most - self.idle, _status("VmHWM") - self.resident)


def _status(name: str) -> float:
    """What Linux says of this process's memory, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def main() -> int:
    """One measurement, as JSON: memory and seconds."""
    kind, side = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        subprocess.run([sys.executable, "-m", "benchmarks.growth", "write", str(side), str(path)], check=True)
        segment = segmenter("--side", "native")
        run_once = segment if kind == "ours" else with_monai(segment.predictor)
        run_once(photo("coffee", (1100, 700)))
        data, peak, started = path.read_bytes(), Peak(), time.perf_counter()
        run_once(data)
        seconds = time.perf_counter() - started
        print(json.dumps([peak.above_idle(), seconds]))
    return 0


def with_monai(predictor: Predictor) -> Callable[[bytes], bytes]:
    """From JPEG to PNG by MONAI's inferer with its defaults, over the predictor's network."""
    inferers, manifest = import_module("monai.inferers"), predictor.manifest

    def run_once(data: bytes) -> bytes:
        pixels = torch.from_numpy(decode(data, Limits())).permute(2, 0, 1)[None]
        with torch.inference_mode():
            image = manifest.preprocessing.normalise(pixels, predictor.dtype)
            logits = inferers.sliding_window_inference(image, TILE, 1, predictor.net, overlap=0.25)
            class_map = logits[0].argmax(0).to(torch.uint8).numpy()
        return mask_png(class_map, manifest.labels.palette)

    return run_once


if __name__ == "__main__":
    if sys.argv[1] == "write":
        side = int(sys.argv[2])
        Path(sys.argv[3]).write_bytes(photo("coffee", (side, side)))
        sys.exit(0)
    sys.exit(main())
