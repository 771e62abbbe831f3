"""Losses: cross-entropy with void pixels and class weights, and the divergence from a teacher."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.datasets import Split


def cross_entropy(logits: Tensor, masks: Tensor, ignore_index: int, weights: Tensor | None) -> Tensor:
    """Mean over the labelled pixels of logits (N, C, H, W) and masks (N, H, W); 0 where no pixel is labelled."""
    sums = F.cross_entropy(logits.float(), masks, weight=weights, ignore_index=ignore_index, reduction="sum")
    return sums / (masks != ignore_index).sum().clamp(min=1)


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean over pixels of the Kullback-Leibler divergence of softmax(logits) from the teacher's log-probabilities."""
    student = F.log_softmax(logits.float(), 1)
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(1).mean()


def median_frequency_weights(split: Split, power: float) -> Tensor:
    """Per class, (median frequency / frequency) ** power; a class that the split never shows weighs as the rarest."""
    counts = np.zeros(len(split.labels), np.int64)
    for index in range(len(split.frames)):
        ids = split.mask(index)
        counts += np.bincount(ids.ravel(), minlength=256)[: len(counts)]
    frequency = counts / counts.sum()
    seen = frequency > 0
    frequency = np.where(seen, frequency, frequency[seen].min())
    weights = (np.median(frequency[seen]) / frequency) ** power
    return torch.from_numpy(weights).float()
