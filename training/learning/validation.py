"""Scores on val along the served path: of a network in training, of its start, and how far one is above the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.manifest import Manifest
from model.metrics import ConfusionMatrix, ious
from model.networks.fcn import FCN
from model.networks.servable import load_network
from training.data.class_mapping import ClassMapping
from training.data.label_files import name_key
from training.data.network_classes import BACKGROUND, NEW, OTHER, NetworkClasses
from training.data.split import Split
from training.learning.starts import start_weights
from training.scoring.evaluate import frame_counts, served_frames, snapshot_segmenter
from training.scoring.intervals import Counts, Interval, difference_intervals, frames_by_class, mean_iou_interval

# of a class on which a verdict may rest: with one to three of 60 frames, the 95% interval held the true difference in 59 to 89%
# of simulated val sets, with five and more in 92 to 96% (benchmarks/studies/intervals.json)
LEAST_FRAMES = 5

Scores = dict[str, float | None]


class Scorer:
    """Scores networks of one manifest on a split; `counts` and `segmenter` are those of the last call.

    mapping: from the network's classes to the split's. The counts equal those of `training.scoring.evaluate.frame_counts` with
    the service's options: a confusion matrix for each frame (F, n, n); none before the first call.
    """

    segmenter: Segmenter

    def __init__(self, manifest: Manifest, validation: Split, mapping: ClassMapping, device: str) -> None:
        self.manifest, self.validation, self.mapping, self.device = manifest, validation, mapping, device
        self.counts: Counts = np.zeros((0, len(validation.labels), len(validation.labels)), np.int64)

    @property
    def matrix(self) -> ConfusionMatrix:
        """The sum over all frames."""
        return ConfusionMatrix.of_frames(self.counts)

    def __call__(self, net: FCN) -> Scores:
        """Gives `mean_iou`, `val_loss`, and `iou/NAME` of each class; None for a class that val does not show.

        `val_loss` is the mean cross-entropy over the labelled pixels of all frames, without class weights and the other terms
        of the training's loss. Its logits are those whose maximum gives the class map; the probabilities of classes that map to
        one label are summed. It is None without labelled pixels.
        """
        self.segmenter = segmenter = snapshot_segmenter(net, self.manifest, self.device)
        split = self.validation
        classes, loss = len(split.labels), 0.0
        table = torch.from_numpy(self.mapping.table[: len(self.manifest.labels)])
        counts = []
        for _, mask, plan, pixels in served_frames(segmenter, split, Options()):
            matrix = ConfusionMatrix(classes)
            for rows in segmenter.rows(pixels, plan):
                ids = rows.class_ids()
                truth = mask[rows.top : rows.top + len(ids)]
                matrix.update(truth, self.mapping(ids))
                labels = torch.from_numpy(truth.copy())
                for part, logits in rows.logits():
                    loss += cross_entropy_sum(torch.from_numpy(logits), labels[part], table)
            counts.append(matrix.counts)
        self.counts = np.stack(counts)
        matrix = self.matrix
        labelled_pixels = int(matrix.counts.sum())
        scores: Scores = {"mean_iou": matrix.mean_iou, "val_loss": loss / labelled_pixels if labelled_pixels else None}
        class_scores = zip(split.labels.names, matrix.iou.tolist(), strict=True)
        return scores | {f"iou/{name}": None if isnan(iou) else iou for name, iou in class_scores}


def cross_entropy_sum(logits: Tensor, labels: Tensor, table: Tensor) -> float:
    """The sum of the cross-entropy over the pixels that have a label.

    logits (C, H, W); labels: uint8 (H, W). table: uint8 (C,), the label of each class.
    """
    log_probabilities = logits.log_softmax(0)
    of_labels = [log_probabilities[table == label][:, labels == label].logsumexp(0) for label in range(int(table.max()) + 1)]
    return -float(torch.cat(of_labels).double().sum())


@dataclass(frozen=True)
class StartScore:
    """The start's score on val: with its own classes, matched by name, at the side of the training.

    counts: confusion matrices (F, n + 1, n + 1), one for each frame; the last column counts pixels for which the start says
    none of val's n classes. names: val's classes. class_ids: those of them that the start knows, with all trained classes that
    map to them.
    """

    start: str
    counts: Counts
    names: tuple[str, ...]
    class_ids: tuple[int, ...]

    @property
    def is_complete(self) -> bool:
        """Whether the start knows all classes."""
        return len(self.class_ids) == len(self.names)

    @property
    def interval(self) -> Interval:
        """The mean IoU of the known classes, over the pixels that are labelled with them, with its interval."""
        return mean_iou_interval(_only(self.counts, self.class_ids))

    def against(self, counts: Counts) -> Interval:
        """The trained network's mean IoU of the known classes minus the start's, on the same frames and pixels.

        counts: of the trained network, as `Scorer.counts`: (F, n, n).
        """
        counts = np.pad(counts, ((0, 0), (0, 1), (0, 1)))
        return difference_intervals(_only(counts, self.class_ids), _only(self.counts, self.class_ids))[-1]

    def deciding_few(self, counts: Counts) -> dict[str, int]:
        """The classes that fewer than `LEAST_FRAMES` frames show, each with that number, if the verdict rests on them.

        It does if the interval of `against` excludes 0 and that of the other classes does not, or lies on the other side. A
        bootstrap over frames takes such a class for as sure as its few frames are alike. counts: as for `against`.
        """
        frames = frames_by_class(_only(self.counts, self.class_ids))
        few = {index: frames[index] for index in self.class_ids if 0 < frames[index] < LEAST_FRAMES}
        change = self.against(counts)
        if not few or not is_clear(change):
            return {}
        others = tuple(index for index in self.class_ids if index not in few)
        of_others = replace(self, class_ids=others).against(counts) if others else None
        agrees = of_others is not None and of_others.excludes_zero and (of_others.value > 0) == (change.value > 0)
        return {} if agrees else {self.names[index]: number for index, number in few.items()}

    def facts(self) -> dict[str, Any]:
        """The score as a weights file stores it."""
        values = ious(_only(self.counts, self.class_ids).sum(0))
        return {
            "classes": [self.names[index] for index in self.class_ids],
            "iou": [None if np.isnan(value) else round(float(value), 6) for value in values[list(self.class_ids)]],
            "mean_iou": round(self.interval.value, 6),
            "mean_iou_95": self.interval.rounded(),
            "frames": len(self.counts),
        }

    def line(self) -> str:
        """The score in a line."""
        which = "" if self.is_complete else f", over the {len(self.class_ids)} of {len(self.names)} classes that it knows"
        interval = f"{self.interval.value:.4f} (95% interval over {len(self.counts)} frames: {self.interval})"
        return f"the start, {self.start}, untrained, has a mean IoU of {interval} on val{which}"


def comparison_line(what: str, change: Interval, frames: int, few: Mapping[str, int] | None = None) -> str:
    """How far a network (`what`) is above or below the start, in words. few: of `StartScore.deciding_few`."""
    interval = "without an interval" if np.isnan(change.low) else f"95% interval {change.low:+.4f} to {change.high:+.4f}"
    if few:
        classes = ", ".join(f"{name} ({number})" for name, number in few.items())
        return (
            f"whether {what} is better than the start is open: {change.value:+.4f} mean IoU on the same {frames} frames of "
            f"val, which classes decide that fewer than {LEAST_FRAMES} frames show: {classes}; label more, or give --folds"
        )
    if change.value < 0:
        verdict = "below the start" if is_clear(change) else "below the start, by less than its interval"
    else:
        verdict = "better than the start" if is_clear(change) else "not better than the start by more than its interval"
    return f"{what} is {verdict}: {change.value:+.4f} mean IoU, {interval}, on the same {frames} frames of val"


def is_clear(change: Interval) -> bool:
    """Whether the interval leaves no doubt about the sign; without an interval there is none."""
    return bool(np.isnan(change.low)) or change.excludes_zero


def score_start(start: str, rows: Sequence[int], scorer: Scorer) -> StartScore | None:
    """Scores a weights file of ours as `scorer` the trained network; None for another start, and if it knows no class.

    rows: for each class of the trained network, the start's class, or `NEW`.
    """
    weights, validation, preprocessing = start_weights(start), scorer.validation, scorer.manifest.preprocessing
    targets = scorer.mapping.table[: len(rows)].tolist()
    class_ids = sorted(set(targets) - {target for target, row in zip(targets, rows, strict=True) if row == NEW})
    if weights is None or not class_ids or weights.manifest.preprocessing.channels != preprocessing.channels:
        return None
    names = tuple(validation.labels.names)
    own_table = start_table(len(weights.manifest.labels), rows, scorer.manifest.labels.names)
    table = np.minimum(scorer.mapping(own_table), len(names))
    manifest = replace(weights.manifest, preprocessing=preprocessing)
    segmenter = snapshot_segmenter(load_network(weights), manifest, scorer.device)
    counts = frame_counts(segmenter, validation, Options(), NetworkClasses(table, [*names, OTHER]))
    return StartScore(start, counts, names, tuple(class_ids))


def start_table(start_classes: int, rows: Sequence[int], names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """The data's class for each class of the start, uint8 (256,). names: of the data's classes.

    A class of the start that the data lacks is the data's background, or `len(names)` if the data has none.
    """
    outside = len(names)
    table = np.full(256, outside, np.uint8)
    table[:start_classes] = next((index for index, name in enumerate(names) if name_key(name) == BACKGROUND), outside)
    for index, row in reversed(list(enumerate(rows))):
        if row != NEW:
            table[row] = index
    return table


def _only(counts: Counts, classes: Sequence[int]) -> Counts:
    """The counts without the pixels that are labelled with other classes, so that means are over these classes alone."""
    result = np.zeros_like(counts)
    result[:, list(classes)] = counts[:, list(classes)]
    return result
