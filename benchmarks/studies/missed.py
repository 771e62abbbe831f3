"""At which rank orders of `fcn-segment --rank` have photographs that show what the network lacks.

    python -m benchmarks.studies.missed --everyday data/everyday-life

Adds `everyday` to `missed.json`. In these labels, trucks, bags and crowds are void, and the network has no class for them.
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

LEAST, FIRST, RESAMPLES = 0.005, (0.1, 0.2), 1000
Floats = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.studies.missed")
    parser.add_argument("--everyday", type=Path, required=True)
    split = get_split(parser.parse_args().everyday, "val", voc_labels())
    segmenter = Segmenter(load_runtime(find_files("voc-fcn8s-mobilenet-v2"), device="cpu", threads=1))
    rows: list[tuple[bool, dict[str, float]]] = []
    for index in range(len(split.frames)):
        probabilities = segmenter(split.file(index), Options(rendering=Rendering("npz", probabilities=True))).probabilities
        assert probabilities is not None
        full = probabilities.astype(np.float32)
        has = bool((without_borders(split.mask(index) == split.labels.ignore_index)).mean() >= LEAST)
        rows.append((has, orders(full.argmax(0), full.max(0))))
    path = Path(__file__).with_suffix(".json")
    report = json.loads(path.read_text())
    facts = {
        "machine": machine(),
        "commit": commit(),
        "precision": segmenter.identity["precision"],
        "of photographs": len(rows),
    }
    report["everyday"] = facts | ranks(rows)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["everyday"], indent=1))


def without_borders(void: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The parts that are wider than four pixels."""
    return ndimage.binary_opening(void, iterations=2)


def orders(ids: npt.NDArray[np.int64], confidence: npt.NDArray[np.float32]) -> dict[str, float]:
    """For each order, the value of a photograph of ids and confidences (H, W); higher ones come first."""
    doubts = []
    for class_id in np.unique(ids).tolist():
        regions = ndimage.label(ids == class_id)[0]
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
