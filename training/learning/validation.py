"""Scores on val along the served path: of a network in training, of its start, and how far one is above the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.arrays import Ids
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.manifest import Manifest
from model.networks.fcn import FCN
from model.networks.servable import load_network
from training.data.class_mapping import ClassMapping
from training.data.network_classes import NEW, OTHER, NetworkClasses, background_id, scored_names
from training.data.split import Split
from training.learning.starts import Start
from training.scoring.changes import Change, compare, only, signed
from training.scoring.evaluate import frame_counts, predictions, served_frames, snapshot_segmenter
from training.scoring.intervals import Interval, mean_iou_interval
from training.scoring.metrics import ConfusionMatrix, Counts, ious, label_pixels, rounded

EpochScores = dict[str, float | None]


class Scorer:
    """Scores networks of one manifest on a split; `counts` and `segmenter` are those of the last call.

    mapping: from the network's classes to the split's. The counts are those of `training.scoring.evaluate.frame_counts` with
    the service's options: a confusion matrix for each frame (F, n, n); none before the first call. names: of the n classes.
    """

    segmenter: Segmenter

    def __init__(self, manifest: Manifest, validation: Split, mapping: ClassMapping, device: str) -> None:
        self.manifest, self.validation, self.mapping, self.device = manifest, validation, mapping, device
        self.names = scored_names(validation)
        self.counts: Counts = np.zeros((0, len(self.names), len(self.names)), np.int64)

    @property
    def matrix(self) -> ConfusionMatrix:
        """The sum over all frames."""
        return ConfusionMatrix(self.counts.sum(0))

    def __call__(self, net: FCN) -> EpochScores:
        """Gives `mean_iou`, `val_loss`, and `iou/NAME` of each class; None for a class that val does not show.

        `val_loss` is the mean cross-entropy over the labelled pixels of all frames, without class weights and the other terms
        of the training's loss. Its logits are those whose maximum gives the class map; the probabilities of classes that map to
        one label are summed. It is None without labelled pixels.
        """
        self.segmenter, losses, split = snapshot_segmenter(net, self.manifest, self.device), list[float](), self.validation
        self.counts = frame_counts(self._maps(losses), split, NetworkClasses(self.mapping.table, self.names))
        loss, matrix = sum(losses), self.matrix
        labelled_pixels = int(label_pixels(matrix.counts).sum())
        scores: EpochScores = {"mean_iou": matrix.mean_iou, "val_loss": loss / labelled_pixels if labelled_pixels else None}
        class_scores = zip(split.labels.names, matrix.iou.tolist(), strict=False)  # without `OTHER`, which has no score
        return scores | {f"iou/{name}": None if isnan(iou) else iou for name, iou in class_scores}

    def _maps(self, losses: list[float]) -> Iterator[tuple[Ids, Ids]]:
        """Yields as `predictions`; adds the sums of the cross-entropy to `losses`."""
        table = torch.from_numpy(self.mapping.table[: len(self.manifest.labels)])
        for _, mask, plan, pixels in served_frames(self.segmenter, self.validation, Options()):
            class_map = np.empty_like(mask)
            for rows in self.segmenter.rows(pixels, plan):
                class_map[rows.pixel_rows] = rows.class_ids()
                labels = torch.from_numpy(mask[rows.pixel_rows].copy())
                for part, logits in rows.logits():
                    losses.append(cross_entropy_sum(torch.from_numpy(logits), labels[part], table))
            yield mask, class_map


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
        return mean_iou_interval(only(self.counts, self.class_ids))

    def against(self, counts: Counts) -> Change:
        """How far the trained network is above the start on the known classes, on the same frames and pixels.

        counts: of the trained network, as `Scorer.counts`: (F, n, n), or (F, n + 2, n + 1).
        """
        counts = np.pad(counts, [(0, own - other) for own, other in zip(self.counts.shape, counts.shape, strict=True)])
        return compare(only(counts, self.class_ids), only(self.counts, self.class_ids))

    def to_dict(self) -> dict[str, Any]:
        """The score as a weights file stores it."""
        values = ious(only(self.counts, self.class_ids).sum(0))
        return {
            "classes": [self.names[index] for index in self.class_ids],
            "iou": [rounded(value) for value in values[list(self.class_ids)]],
            "mean_iou": rounded(self.interval.value),
            "mean_iou_95": self.interval.rounded(),
            "frames": len(self.counts),
        }

    def line(self) -> str:
        """The score in a line."""
        which = "" if self.is_complete else f", over the {len(self.class_ids)} of {len(self.names)} classes that it knows"
        interval = f"{self.interval.value:.4f} (95% interval over {len(self.counts)} frames: {self.interval})"
        return f"the start, {self.start}, untrained, has a mean IoU of {interval} on val{which}"


def comparison_line(what: str, change: Change, frames: int, names: Sequence[str]) -> str:
    """How far a network (`what`) is above or below the start, in words. names: of all classes.

    It says `better` or `below` only if the change over the classes that enough frames show is sure, and gives that change. If
    few frames show some class, the change over all classes follows.
    """
    on = f"on the same {frames} frames of val"
    if change.frequent and change.is_sure:
        with_few = f", without {change.few_names(names)}; with them {change.mean.value:+.4f}" if change.few else ""
        verdict = "better than" if change.frequent.value > 0 else "below"
        return f"{what} is {verdict} the start: {signed(change.frequent)}, {on}{with_few}"
    without_few = f"; without {change.few_names(names)}: {change.frequent_text()}" if change.few else ""
    if change.is_open:
        line = f"whether {what} is better than the start is open: {signed(change.mean)}, {on}{without_few}"
        return f"{line}; label more, or give --folds"
    verdict = "below the start, by less" if change.mean.value < 0 else "not better than the start by more"
    return f"{what} is {verdict} than its interval: {signed(change.mean)}, {on}{without_few}"


def score_start(start: Start, rows: Sequence[int], scorer: Scorer) -> StartScore | None:
    """Scores a weights file of ours as `scorer` the trained network; None for another start, and if val shows no class of it.

    rows: for each class of the trained network, the start's class, or `NEW`.
    """
    weights, validation, preprocessing = start.weights, scorer.validation, scorer.manifest.preprocessing
    targets = scorer.mapping.table[: len(rows)].tolist()
    class_ids = sorted(set(targets) - {target for target, row in zip(targets, rows, strict=True) if row == NEW})
    if weights is None or not class_ids or weights.manifest.preprocessing.channels != preprocessing.channels:
        return None
    names = tuple(validation.labels.names)
    own_table = start_table(len(weights.manifest.labels), rows, scorer.manifest.labels.names)
    table = np.minimum(scorer.mapping(own_table), len(names))
    manifest = replace(weights.manifest, preprocessing=preprocessing)
    maps = predictions(snapshot_segmenter(load_network(weights), manifest, scorer.device), validation, Options())
    counts = frame_counts(maps, validation, NetworkClasses(table, [*names, OTHER]))
    return StartScore(start.name, counts, names, tuple(class_ids)) if counts[:, class_ids].any() else None


def start_table(start_classes: int, rows: Sequence[int], names: Sequence[str]) -> Ids:
    """The data's class for each class of the start, uint8 (256,). names: of the data's classes.

    A class of the start that the data lacks is the data's background, or `len(names)` if the data has none.
    """
    table = np.full(256, len(names), np.uint8)
    table[:start_classes] = background_id(names)
    for index, row in reversed(list(enumerate(rows))):
        if row != NEW:
            table[row] = index
    return table
