"""Where the published weights fail: charts of confusions and of IoU by size.

    python -m benchmarks.studies.failures --voc data/voc2012-animals --camvid data/camvid --everyday data/everyday-life

Writes `docs/failures-*.png` and `failures.json`.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from docs.scores import PUBLISHED
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import find_files
from training.data.class_mapping import ClassMapping, parse_class_mapping
from training.data.label_files import find_labels
from training.data.split import Split, get_split
from training.reporting.machine import commit, machine
from training.scoring.evaluate import predictions

Ids = npt.NDArray[np.uint8]
DOCS = Path(__file__).parents[2] / "docs"
SEVEN = "0=0,8=1,10=2,12=3,13=4,15=5,17=6,*=0"
EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # object sizes, as fractions of the frame


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.failures", description="Charts of failures.")
    for name in ("--voc", "--camvid", "--everyday"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args()
    voc, camvid = (Segmenter(load_runtime(find_files(name))) for name in PUBLISHED)
    labels = find_labels("voc", args.voc)
    seven = parse_class_mapping(SEVEN, labels)
    report: dict[str, Any] = {"machine": machine(), "commit": commit(), "edges": EDGES}
    for name, segmenter, split, mapping in (
        ("voc", voc, get_split(args.voc, "val", labels, seven), seven),
        ("camvid", camvid, get_split(args.camvid, "val", find_labels(None, args.camvid)), None),
        ("everyday", voc, get_split(args.everyday, "val", labels), None),
    ):
        has_background = name != "camvid"
        report[name] = charts(segmenter, split, mapping, DOCS / f"failures-{name}.png", skip_background=has_background)
    Path(__file__).with_name("failures.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0


def charts(
    segmenter: Segmenter, split: Split, mapping: ClassMapping | None, path: Path, *, skip_background: bool
) -> dict[str, Any]:
    """Evaluates a split and writes a PNG of the confusion matrix beside the IoU by size; gives the numbers.

    mapping: from the segmenter's classes to the split's, or None if they are the same.
    """
    classes, names = len(split.labels), split.labels.names
    counts = np.zeros((classes, classes), np.int64)
    by_size: list[list[float]] = [[] for _ in EDGES[1:]]
    for truth, class_map in predictions(segmenter, split, Options()):
        class_map = mapping(class_map) if mapping else class_map
        is_labelled = (truth < classes) & (class_map < classes)
        pairs = truth[is_labelled].astype(np.int64) * classes + class_map[is_labelled]
        counts += np.bincount(pairs, minlength=classes**2).reshape(counts.shape)
        for size, iou in sizes(truth, class_map, classes, skip_background=skip_background):
            by_size[int(np.searchsorted(EDGES, size, side="left")) - 1].append(iou)
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    path.write_bytes(draw(shares, names, by_size))
    medians = [round(float(np.median(values)), 3) if values else None for values in by_size]
    return {
        "frames": len(split.frames),
        "precision": segmenter.identity["precision"],
        "classes": names,
        "shares": shares.round(4).tolist(),
        "median_iou_by_size": medians,
        "objects_by_size": [len(values) for values in by_size],
    }


def sizes(truth: Ids, class_map: Ids, classes: int, *, skip_background: bool) -> Iterator[tuple[float, float]]:
    """For each class in a frame's labels: its share of the labelled pixels, and its IoU over them.

    truth, class_map: (height, width) class ids. Ids in `truth` from `classes` on are unlabelled.
    """
    is_labelled = truth < classes
    for index in range(1 if skip_background else 0, classes):
        in_truth, in_map = truth == index, (class_map == index) & is_labelled
        if in_truth.any():
            yield in_truth.sum() / is_labelled.sum(), (in_truth & in_map).sum() / (in_truth | in_map).sum()


def draw(shares: npt.NDArray[np.float64], names: Sequence[str], by_size: Sequence[Sequence[float]]) -> bytes:
    """The chart as PNG. by_size: IoU values for each interval of `EDGES`."""
    height = 4.6 if len(names) < 15 else 6.0
    figure = Figure(figsize=(11, height), layout="constrained")
    matrix_axes, size_axes = figure.subplots(1, 2, width_ratios=[1.15, 1])
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


if __name__ == "__main__":
    sys.exit(main())
