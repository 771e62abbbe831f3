"""Where the published weights fail: charts of confusions and of IoU by size, and scores of rare classes.

    python -m benchmarks.studies.failures --voc data/voc2012-animals --camvid data/camvid --start runs/start/start.safetensors

Writes `docs/failures-*.png` and `docs/failures.json`. `benchmarks.studies.documents` makes the page.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmarks.studies.trainings import ROOT
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.metrics import ConfusionMatrix
from model.weights_file import find_files
from training.data.class_mapping import ClassMapping, parse_class_mapping
from training.data.label_files import find_labels
from training.data.split import Split
from training.reporting.machine import commit, machine
from training.scoring.evaluate import ClassMap, predictions
from training.survey.datasets import get_split

DOCS = ROOT / "docs"
SEVEN = "0=0,8=1,10=2,12=3,13=4,15=5,17=6,*=0"
RARE = ("bottle", "car", "chair", "diningtable", "motorbike", "pottedplant", "sofa", "tvmonitor")
EVERY = {"val": 1, "train": 5}  # for the rare classes, every how many frames one is evaluated
FOUND = 0.01  # least share of a frame's pixels that the start weights give a class, for the class to count as found
EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # object sizes, as fractions of the frame


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.failures", description="Charts of failures, and the rare classes.")
    parser.add_argument("--voc", type=Path, required=True)
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True, help="the weights file that the VOC training started from")
    args = parser.parse_args()
    labels = find_labels("voc", args.voc)
    seven = parse_class_mapping(SEVEN, labels)
    report: dict[str, Any] = {"machine": machine(), "commit": commit(), "found_from": FOUND, "every": EVERY}
    names = "voc-fcn8s-mobilenet-v2", "camvid-fcn8s-mobilenet-edgetpu", str(args.start)
    voc, camvid, start = (Segmenter(load_runtime(find_files(name))) for name in names)
    charts(voc, get_split(args.voc, "val", labels, seven), seven, DOCS / "failures-voc.png")
    camvid_val = get_split(args.camvid, "val", find_labels(None, args.camvid))
    charts(camvid, camvid_val, None, DOCS / "failures-camvid.png")
    report["rare"] = {}
    for name, every in EVERY.items():
        split = get_split(args.voc, name, labels)
        report["rare"][name] = rare(replace(split, frames=split.frames[::every]), voc, start)
    (DOCS / "failures.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0


def charts(segmenter: Segmenter, split: Split, mapping: ClassMapping | None, path: Path) -> None:
    """Evaluates a split and writes a PNG of the confusion matrix beside the IoU by size.

    mapping: from the segmenter's classes to the split's, or None if they are the same.
    """
    matrix = ConfusionMatrix(len(split.labels))
    by_size: list[list[float]] = [[] for _ in EDGES[1:]]
    for truth, class_map in predictions(segmenter, split, Options()):
        class_map = mapping(class_map) if mapping else class_map
        matrix.update(truth, class_map)
        for size, iou in sizes(truth, class_map, len(split.labels), skip_background=mapping is not None):
            by_size[int(np.searchsorted(EDGES, size, side="left")) - 1].append(iou)
    path.write_bytes(draw(matrix, split.labels.names, by_size))


def sizes(truth: ClassMap, class_map: ClassMap, classes: int, *, skip_background: bool) -> Iterator[tuple[float, float]]:
    """For each class in a frame's labels: its share of the labelled pixels, and its IoU over them.

    truth, class_map: (height, width) class ids. Ids in `truth` from `classes` on are unlabelled.
    """
    is_labelled = truth < classes
    for index in range(1 if skip_background else 0, classes):
        in_truth, in_map = truth == index, (class_map == index) & is_labelled
        if in_truth.any():
            yield in_truth.sum() / is_labelled.sum(), (in_truth & in_map).sum() / (in_truth | in_map).sum()


def draw(matrix: ConfusionMatrix, names: Sequence[str], by_size: Sequence[Sequence[float]]) -> bytes:
    """The chart as PNG. by_size: IoU values for each interval of `EDGES`."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    matrix_axes, size_axes = figure.subplots(1, 2, width_ratios=[1.15, 1])
    shares = matrix.counts / np.maximum(1, matrix.counts.sum(1, keepdims=True))
    matrix_axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(shares >= 0.005):
        color = "white" if shares[row, column] > 0.5 else "black"
        matrix_axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color)
    matrix_axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    matrix_axes.set_yticks(range(len(names)), names)
    matrix_axes.set(xlabel="predicted", ylabel="label", title="% of a label's pixels")
    sizes_shown = [index for index, values in enumerate(by_size) if values]
    size_axes.boxplot([by_size[index] for index in sizes_shown], showfliers=False, medianprops={"color": "#4269d0"})
    ticks = [f"to {100 * EDGES[index + 1]:g}%\n{len(by_size[index])}" for index in sizes_shown]
    size_axes.set_xticks(range(1, len(sizes_shown) + 1), ticks, fontsize=8)
    size_axes.set(ylim=(0, 1), ylabel="IoU within a frame", xlabel="share of the frame that a class covers; below, how many")
    size_axes.set_title("the smaller, the worse")
    size_axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def rare(split: Split, segmenter: Segmenter, start: Segmenter) -> dict[str, dict[str, float | int | None]]:
    """Scores of each rare class over the frames where the start weights find it.

    frames: number of these frames. iou, start_iou: IoU of each network with the labels. agreement: IoU between the networks.
    """
    names = split.labels.names
    counts = {key: {name: np.zeros(2, np.int64) for name in RARE} for key in ("iou", "start_iou", "agreement")}
    frames = dict.fromkeys(RARE, 0)
    for (truth, class_map), (_, start_map) in zip(
        predictions(segmenter, split, Options()), predictions(start, split, Options()), strict=True
    ):
        is_labelled = truth < len(names)
        for name in RARE:
            index = names.index(name)
            if (start_map == index).mean() < FOUND:
                continue
            frames[name] += 1
            label, ours, starts = ((ids == index) & is_labelled for ids in (truth, class_map, start_map))
            for key, (first, second) in {
                "iou": (label, ours),
                "start_iou": (label, starts),
                "agreement": (ours, starts),
            }.items():
                counts[key][name] += [(first & second).sum(), (first | second).sum()]
    return {
        name: {"frames": frames[name]} | {key: _ratio(values[name]) for key, values in counts.items()}
        for name in RARE
        if frames[name]
    }


def _ratio(counts: npt.NDArray[np.int64]) -> float | None:
    """Intersection over union, to three digits; None if the union is empty."""
    return round(float(counts[0] / counts[1]), 3) if counts[1] else None


if __name__ == "__main__":
    sys.exit(main())
