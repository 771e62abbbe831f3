"""Scores a network in training on val: confusion matrix and cross-entropy, in one pass along the served path."""

from __future__ import annotations

from math import isnan

import numpy as np
import torch
from torch import Tensor

from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.manifest import Manifest
from model.metrics import ConfusionMatrix
from model.networks.fcn import FCN
from training.data.class_mapping import ClassMapping, identity_mapping
from training.data.split import Split
from training.scoring.evaluate import snapshot_segmenter
from training.scoring.intervals import Counts

Scores = dict[str, float | None]


class Scorer:
    """Scores networks of one manifest on a split; `counts` and `segmenter` are those of the last call.

    mapping: from the network's classes to the split's, if the split has fewer. The counts equal those of
    `training.scoring.evaluate.frame_counts` with the service's options: a confusion matrix for each frame (F, n, n).
    """

    def __init__(self, manifest: Manifest, validation: Split, mapping: ClassMapping | None, device: str) -> None:
        self.manifest, self.validation, self.device = manifest, validation, device
        self.mapping = mapping or identity_mapping(manifest.labels)
        self.counts: Counts | None = None
        self.segmenter: Segmenter | None = None

    @property
    def matrix(self) -> ConfusionMatrix:
        """The sum over all frames; there must have been a call."""
        assert self.counts is not None
        return ConfusionMatrix.of_frames(self.counts)

    def __call__(self, net: FCN) -> Scores:
        """Gives `mean_iou`, `val_loss`, and `iou/NAME` of each class; None for a class that val does not show.

        `val_loss` is the mean cross-entropy over the labelled pixels of all frames, without class weights and the other terms
        of the training's loss. Its logits are those whose maximum gives the class map. With a mapping to fewer classes, the
        probability of a label is the sum over the classes that map to it. It is None without labelled pixels.
        """
        self.segmenter = segmenter = snapshot_segmenter(net, self.manifest, self.device)
        split = self.validation
        classes, loss, table = len(split.labels), 0.0, torch.from_numpy(self.mapping.table.copy())
        counts = []
        for index in range(len(split.frames)):
            matrix = ConfusionMatrix(classes)
            data, truth = split.file(index), split.mask(index)
            plan = segmenter.plan(data, Options())
            for rows in segmenter.rows(segmenter.decode(data, plan), plan):
                ids = rows.class_ids()
                matrix.update(truth[rows.top : rows.top + len(ids)], self.mapping(ids))
                for part in rows.parts():
                    logits = torch.from_numpy(part.logits())
                    labels = torch.from_numpy(truth[part.top : part.top + logits.shape[1]].copy())
                    loss += cross_entropy_sum(logits, labels, table, classes)
            counts.append(matrix.counts)
        self.counts = np.stack(counts)
        matrix = self.matrix
        labelled_pixels = int(matrix.counts.sum())
        scores: Scores = {"mean_iou": matrix.mean_iou, "val_loss": loss / labelled_pixels if labelled_pixels else None}
        class_scores = zip(split.labels.names, matrix.iou.tolist(), strict=True)
        return scores | {f"iou/{name}": None if isnan(iou) else iou for name, iou in class_scores}


def cross_entropy_sum(logits: Tensor, labels: Tensor, table: Tensor, classes: int) -> float:
    """The sum of the cross-entropy over the pixels whose label is below `classes`.

    logits (C, H, W); labels: uint8 (H, W). table: maps each of the C classes to a label.
    """
    is_labelled = labels < classes
    log_probabilities = logits[:, is_labelled].log_softmax(0)
    other_classes = table[: len(logits), None] != labels[is_labelled]
    return -float(log_probabilities.masked_fill(other_classes, -np.inf).logsumexp(0).double().sum())
