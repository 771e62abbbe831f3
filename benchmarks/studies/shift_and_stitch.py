"""Compares shift-and-stitch with bilinear upsampling on the default weights: a picture, and the cost.

    python -m benchmarks.studies.shift_and_stitch

Writes `docs/shift-and-stitch.png` and `docs/shift-and-stitch.json`.
"""

from __future__ import annotations

import io
import json
import statistics
import sys

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmarks.studies.models import milliseconds
from benchmarks.studies.trainings import ROOT
from imaging.conversion import Pixels
from imaging.decoding import Limits, decode
from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights
from training.reporting.machine import commit, machine

SHIFTS = (1, 2, 4, 8)
PHOTO = ROOT / "docs" / "photos" / "chelsea.jpg"
SIZE = (320, 480)
ZOOM = (slice(0, 240), slice(320, 480))  # rows and columns of the cat's outline
CAT = 8  # class id


def probability(segmenter: Segmenter, photo: Pixels) -> npt.NDArray[np.float32]:
    """Probability of the class `CAT` at every pixel, (height, width) float32."""
    rows = segmenter.rows(photo, segmenter.plan_size(SIZE, Options(SIZE, side="native")))
    logits = np.concatenate([part.logits() for part in rows], 1)
    exponentials = np.exp(logits - logits.max(0))
    probabilities: npt.NDArray[np.float32] = exponentials[CAT] / exponentials.sum(0)
    return probabilities


def main() -> int:
    weights = load_weights(find_weights(DEFAULT_WEIGHTS))
    photo = decode(PHOTO.read_bytes(), Limits(), SIZE)
    networks = [TorchRuntime(weights, "cpu", shifts=shifts) for shifts in SHIFTS]
    probabilities = [probability(Segmenter(network), photo) for network in networks]
    times = milliseconds(networks, photo)
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(1, 1 + len(SHIFTS))
    axes[0].imshow(photo[ZOOM])
    axes[0].set_title("photo", fontsize=9)
    for shifts, values, panel in zip(SHIFTS, probabilities, axes[1:], strict=True):
        panel.imshow(values[ZOOM], cmap="viridis", vmin=0, vmax=1)
        panel.contour(values[ZOOM], [0.5], colors="white", linewidths=0.8)
        panel.set_title("bilinear alone" if shifts == 1 else f"{shifts}x{shifts} shifts", fontsize=9)
    for panel in axes:
        panel.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    (ROOT / "docs" / "shift-and-stitch.png").write_bytes(buffer.getvalue())
    rows = [
        {
            "shifts": shifts,
            "ms": round(statistics.median(network_times), 1),
            "ratio": round(statistics.median(network_times) / statistics.median(times[0]), 1),
            "changed": round(float(np.mean((values > 0.5) != (probabilities[0] > 0.5))), 5),
        }
        for shifts, network_times, values in zip(SHIFTS, times, probabilities, strict=True)
    ]
    document = {"size": SIZE, "dtype": networks[0].identity.precision, "machine": machine(), "commit": commit(), "rows": rows}
    (ROOT / "docs" / "shift-and-stitch.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
