"""At which rank orders of `fcn-segment --rank` have photographs with a class that the network lacks.

    python -m benchmarks.studies.missed --voc data/voc2012-animals

Writes `missed.json`. A network that learned a class as background gives that class's probability to the background.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.labels import voc_labels
from model.weights_file import find_files
from training.data.split import get_split
from training.reporting.machine import commit, machine

CLASSES = ("cat", "cow", "dog", "horse", "person", "sheep")
PHOTOS, LEAST, FIRST, RESAMPLES = 150, 0.01, (0.1, 0.2), 1000
Floats = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.studies.missed")
    parser.add_argument("--voc", type=Path, required=True)
    split = get_split(parser.parse_args().voc, "val", voc_labels())
    segmenter = Segmenter(load_runtime(find_files("voc-fcn8s-mobilenet-v2")))
    rows: dict[str, list[tuple[bool, dict[str, float]]]] = {name: [] for name in CLASSES}
    for index in np.linspace(0, len(split.frames) - 1, PHOTOS).astype(int).tolist():
        probabilities = segmenter(split.file(index), Options(rendering=Rendering("npz", probabilities=True))).probabilities
        assert probabilities is not None
        for name in CLASSES:
            lacked = split.labels.names.index(name)
            others = probabilities.astype(np.float32)
            others[0] += others[lacked]
            others[lacked] = 0
            rows[name].append((bool((split.mask(index) == lacked).mean() >= LEAST), orders(others.argmax(0), others.max(0))))
    report = {"machine": machine(), "commit": commit(), "precision": segmenter.identity["precision"], "photographs": PHOTOS}
    report["classes"] = {name: ranks(own) for name, own in rows.items()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


def orders(ids: npt.NDArray[np.int64], confidence: npt.NDArray[np.float32]) -> dict[str, float]:
    """For each order, the value of a photograph of ids and confidences (H, W); higher ones come first."""
    doubts = []
    for class_id in np.unique(ids).tolist():
        regions, count = ndimage.label(ids == class_id)
        pixels = np.bincount(regions.ravel())[1:]
        sums = np.bincount(regions.ravel(), 1 - confidence.ravel())[1:]
        doubts += (sums / pixels)[pixels >= LEAST * ids.size].tolist()
    return {
        "mean": float(1 - confidence.mean()), "below 0.5": float((confidence < 0.5).mean()),
        "lowest region": max(doubts, default=0.0), "background": float((ids == 0).mean()),
    }  # fmt: skip


def ranks(rows: list[tuple[bool, dict[str, float]]]) -> dict[str, Any]:
    """For each order: mean rank (0 to 1; by chance 0.5) of the photographs with the class, its 95% interval over resampled
    photographs, and the share of them in the first 10% and 20%.
    """
    has_class, random = np.array([has for has, _ in rows]), np.random.default_rng(0)
    result: dict[str, Any] = {"photographs": int(has_class.sum())}
    for order in rows[0][1]:
        values = np.array([each[order] for _, each in rows])
        draws = [random.integers(0, len(rows), len(rows)) for _ in range(RESAMPLES)]
        means = [_ranks(values[draw])[has_class[draw]].mean() for draw in draws if has_class[draw].any()]
        own = _ranks(values)[has_class]
        numbers = {"rank": own.mean(), "from": np.percentile(means, 2.5), "to": np.percentile(means, 97.5)}
        numbers |= {f"first {share:.0%}": (own < share).mean() for share in FIRST}
        result[order] = {name: round(float(number), 3) for name, number in numbers.items()}
    return result


def _ranks(values: Floats) -> Floats:
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = (np.arange(len(values)) + 0.5) / len(values)
    return ranks


if __name__ == "__main__":
    main()
