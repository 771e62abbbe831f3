"""How well the network's own confidence orders photographs by their errors, as `fcn-segment --rank` does.

    python -m benchmarks.studies.ranking --voc data/voc2012-animals --camvid data/camvid

Writes `docs/ranking.json`. `benchmarks.studies.documents` makes the page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from docs.scores import PUBLISHED
from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import find_files
from training.data.label_files import find_labels
from training.data.split import Split, get_split
from training.reporting.machine import commit, machine

Ids = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
BAND = 32  # pixels are near a border within 1/32 of the longer side
SHARES = (0.1, 0.25, 0.5)  # of the photographs that are looked at first


@dataclass(frozen=True)
class Frame:
    """Scores of a photograph that need no labels, and its errors.

    scores: by name, higher for less certain ones. wrong: wrong pixels among the labelled ones. error: their share. iou_error: 1
    minus the mean IoU of the labelled classes within the photograph.
    """

    scores: dict[str, float]
    wrong: int
    error: float
    iou_error: float


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.ranking", description="Order of photographs by confidence.")
    parser.add_argument("--voc", type=Path, required=True)
    parser.add_argument("--camvid", type=Path, required=True)
    args = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "commit": commit(), "band": BAND, "weights": {}}
    for (name, title), data, labels in zip(PUBLISHED.items(), (args.voc, args.camvid), ("voc", None), strict=True):
        segmenter = Segmenter(load_runtime(find_files(name)))
        frames = list(measure(segmenter, get_split(data, "val", find_labels(labels, data))))
        report["weights"][name] = summary(frames) | {"title": title, "precision": segmenter.identity["precision"]}
    Path(__file__).with_name("ranking.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0


def measure(segmenter: Segmenter, split: Split) -> Iterator[Frame]:
    """The scores and errors of each frame of the split."""
    options = Options(rendering=Rendering("npz"))
    for index in range(len(split.frames)):
        truth = split.mask(index)
        segmentation = segmenter(split.file(index), options)
        assert segmentation.confidence is not None
        is_labelled = truth < len(split.labels)
        yield Frame(
            scores(segmentation.class_map, segmentation.confidence), *errors(truth, segmentation.class_map, is_labelled)
        )


def scores(class_map: Ids, confidence: Ids) -> dict[str, float]:
    """Ways to say in a number how uncertain a class map (height, width) is. confidence: 0 to 255, of the same shape.

    mean: of one minus confidence, over all pixels; `--rank` uses it. near borders, inside: the same over the pixels near a
    border of two regions, and over all others. by border: the sum of one minus confidence for each pixel of border length.
    """
    doubt = 1 - confidence / 255
    across, down = class_map[:, 1:] != class_map[:, :-1], class_map[1:] != class_map[:-1]
    edges = np.zeros(class_map.shape, np.uint8)
    edges[:, 1:] |= across
    edges[1:] |= down
    reach = max(class_map.shape) // BAND
    near = np.asarray(Image.fromarray(edges).filter(ImageFilter.MaxFilter(2 * reach + 1))).astype(bool)
    mean = float(doubt.mean())
    length = int(across.sum() + down.sum())
    return {
        "mean": mean,
        "near borders": float(doubt[near].mean()) if near.any() else mean,
        "inside": float(doubt[~near].mean()) if not near.all() else mean,
        "by border": float(doubt.sum()) / max(length, 1),
    }


def errors(truth: Ids, class_map: Ids, is_labelled: npt.NDArray[np.bool_]) -> tuple[int, float, float]:
    """The number of wrong pixels, their share of the labelled ones, and 1 minus the mean IoU of the classes in `truth`."""
    wrong = int((is_labelled & (truth != class_map)).sum())
    ious = []
    for index in np.unique(truth[is_labelled]):
        in_truth, in_map = (truth == index) & is_labelled, (class_map == index) & is_labelled
        ious.append((in_truth & in_map).sum() / (in_truth | in_map).sum())
    return wrong, wrong / max(1, int(is_labelled.sum())), 1 - float(np.mean(ious)) if ious else 0.0


def summary(frames: Sequence[Frame]) -> dict[str, Any]:
    """For each score: its rank correlation with both errors, and the shares of the wrong pixels in the frames it puts first.

    perfect: the shares if frames were ordered by their numbers of wrong pixels.
    """
    wrong = np.array([frame.wrong for frame in frames], float)
    error, iou_error = np.array([frame.error for frame in frames]), np.array([frame.iou_error for frame in frames])
    by_score = {}
    for name in frames[0].scores:
        values = np.array([frame.scores[name] for frame in frames])
        correlations = {"error": rank_correlation(values, error), "iou_error": rank_correlation(values, iou_error)}
        by_score[name] = {key: round(value, 3) for key, value in correlations.items()} | {"first": shares(values, wrong)}
    return {"frames": len(frames), "perfect": shares(wrong, wrong), "scores": by_score}


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, where equal values share their mean rank."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts - 1) / 2
    ranks: Floats = means[positions]
    return ranks


def shares(values: Floats, wrong: Floats) -> list[float]:
    """For each of `SHARES`, the share of the wrong pixels that lie in this share of the frames, those of the highest values."""
    order = np.argsort(-values, kind="stable")
    return [round(float(wrong[order[: int(len(order) * share)]].sum() / wrong.sum()), 3) for share in SHARES]


if __name__ == "__main__":
    sys.exit(main())
