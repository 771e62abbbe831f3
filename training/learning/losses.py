"""Losses: cross-entropy with void pixels and class weights, and the divergence from a teacher."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.datasets import Split


def cross_entropy(
    logits: Tensor, masks: Tensor, ignore_index: int, weights: Tensor | None, labelled: Tensor | None = None
) -> Tensor:
    """Mean over the labelled pixels of logits (N, C, H, W) and masks (N, H, W); 0 where no pixel is labelled.

    labelled: the number to divide by where these are a part of a larger batch.
    """
    sums = F.cross_entropy(logits.float(), masks, weight=weights, ignore_index=ignore_index, reduction="sum")
    return sums / ((masks != ignore_index).sum().clamp(min=1) if labelled is None else labelled)


def without_border(masks: Tensor, ignore_index: int, width: int) -> Tensor:
    """Masks (N, H, W) in which pixels less than `width` from one of another id, void included, are void."""
    ids = masks[:, None].float()
    side, beyond = 2 * width - 1, width - 1
    # by rows, then by columns: what a square holds, in a fraction of the time
    rows = (F.max_pool2d(sign * ids, (1, side), 1, (0, beyond)) for sign in (1, -1))
    largest, smallest = (F.max_pool2d(each, (side, 1), 1, (beyond, 0)) for each in rows)
    return masks.masked_fill((largest != -smallest)[:, 0], ignore_index)


def lovasz_softmax(logits: Tensor, masks: Tensor, ignore_index: int, step: int = 4) -> Tensor:
    """The Lovász extension of 1 - IoU, mean over the classes that the batch shows (Berman et al. 2018, section 3).

    logits (N, C, H, W), masks (N, H, W). Pixels of a grid of `step` at a random offset stand for all: sorting
    every pixel would cost as much as the network.
    """
    top, left = (int(offset) for offset in torch.randint(step, (2,)))
    picked = masks[:, top::step, left::step]
    labelled = picked != ignore_index
    truth = picked[labelled]
    probabilities = logits[..., top::step, left::step].float().softmax(1).movedim(1, 0)[:, labelled]
    present = torch.unique(truth)
    foreground = (truth == present[:, None]).float()
    errors = (foreground - probabilities[present]).abs()
    if not errors.numel():
        return torch.zeros((), device=logits.device)
    errors, order = errors.sort(1, descending=True)
    loss: Tensor = (errors * _lovasz_gradient(foreground.gather(1, order))).sum(1).mean()
    return loss


def _lovasz_gradient(foreground: Tensor) -> Tensor:
    """How much 1 - IoU grows with each further wrong pixel, errors sorted from the largest (algorithm 1)."""
    total = foreground.sum(1, keepdim=True)
    missed = foreground.cumsum(1)
    jaccard = 1 - (total - missed) / (total + (1 - foreground).cumsum(1))
    return torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], 1)


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
