"""What a network in training scores on val: confusion matrix and cross-entropy, of one pass along the served path."""

from __future__ import annotations

from math import isnan

import numpy as np
import torch
from torch import Tensor

from model.inference.segmenter import Options
from model.manifest import Manifest
from model.metrics import ConfusionMatrix
from model.networks.fcn import FCN
from training.data.class_mapping import ClassMapping, identity
from training.data.datasets import Split
from training.scoring.evaluate import snapshot_segmenter

Scores = dict[str, float | None]


class Scorer:
    """Scores networks of one manifest on a split, and remembers the last one's confusion matrix.

    mapping: of the network's classes to the split's, where it is scored on fewer. The counts are those of
    `training.scoring.evaluate.evaluate` with the service's options.
    """

    def __init__(self, manifest: Manifest, validation: Split, mapping: ClassMapping | None, device: str) -> None:
        self.manifest, self.validation, self.device = manifest, validation, device
        self.mapping = mapping or identity(manifest.labels)
        self.matrix: ConfusionMatrix | None = None

    def __call__(self, net: FCN) -> Scores:
        """`mean_iou`; `val_loss`; and `iou/NAME` of each class, None for those that val does not show.

        The loss is the mean cross-entropy over the labelled pixels of all frames, of the logits whose highest is the class
        map, without class weights and the other terms of the training's loss. Scored on fewer classes, what counts is the
        sum of the probabilities of those that became the label. None without labelled pixels.
        """
        segmenter, split = snapshot_segmenter(net, self.manifest, self.device), self.validation
        classes, loss, table = len(split.labels), 0.0, torch.from_numpy(self.mapping.table.copy())
        matrix = ConfusionMatrix(classes)
        for index in range(len(split.frames)):
            data, truth = split.file(index), split.mask(index)
            plan = segmenter.plan(data, Options())
            for rows in segmenter.rows(segmenter.decode(data, plan), plan):
                ids = rows.class_ids()
                matrix.update(truth[rows.top : rows.top + len(ids)], self.mapping(ids))
                for part in rows.parts():
                    logits = torch.from_numpy(part.logits())
                    labels = torch.from_numpy(truth[part.top : part.top + logits.shape[1]].copy())
                    loss += cross_entropy_sum(logits, labels, table, classes)
        self.matrix = matrix
        labelled = int(matrix.counts.sum())
        scores: Scores = {"mean_iou": matrix.mean_iou, "val_loss": loss / labelled if labelled else None}
        named = zip(split.labels.names, matrix.iou.tolist(), strict=True)
        return scores | {f"iou/{name}": None if isnan(iou) else iou for name, iou in named}


def cross_entropy_sum(logits: Tensor, labels: Tensor, table: Tensor, classes: int) -> float:
    """The sum over pixels of logits (C, H, W) and uint8 labels (H, W) below `classes`, to which `table` maps the C classes."""
    labelled = labels < classes
    log_probabilities = logits[:, labelled].log_softmax(0)
    others = table[: len(logits), None] != labels[labelled]
    return -float(log_probabilities.masked_fill(others, -np.inf).logsumexp(0).double().sum())
