"""Losses: cross-entropy with void pixels and class weights, Lovász-softmax, Dice, and distillation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.arrays import Integers

Maybe = Tensor | None
UNLABELLED = 256  # this id + k: the pixel shows none of the classes that its set, the k-th, labels


def cross_entropy(
    logits: Tensor, masks: Tensor, ignore_index: int, weights: Maybe, divisor: Maybe = None, labelled: Maybe = None
) -> Tensor:
    """Mean cross-entropy over the pixels of logits (N, C, H, W) and masks (N, H, W) that are not void; 0 if all are.

    divisor: the pixels of the whole batch that are not void, if these crops are a part of it (default: of these crops).
    labelled: bool (K, C), whether each of K sets labels a class. A pixel of `UNLABELLED` + k costs the negative logarithm of
    the summed probabilities of all classes that set k does not label, with the smallest of their weights. A crop is of one set.
    """
    logits, is_rest = logits.float(), masks >= UNLABELLED
    classes = masks.masked_fill(is_rest, ignore_index)
    sums = F.cross_entropy(logits, classes, weight=weights, ignore_index=ignore_index, reduction="sum")
    crops = is_rest.flatten(1).any(1)
    if labelled is not None and crops.any():
        is_labelled = labelled[set_of_crop(masks[crops])]
        others = logits[crops].masked_fill(is_labelled[..., None, None], -torch.inf)
        costs = (logits[crops].logsumexp(1) - others.logsumexp(1)) * is_rest[crops]
        if weights is not None:
            costs = costs * weights.masked_fill(is_labelled, torch.inf).amin(1)[:, None, None]
        sums = sums + costs.sum()
    return sums / ((masks != ignore_index).sum().clamp(min=1) if divisor is None else divisor)


def set_of_crop(masks: Tensor) -> Tensor:
    """The number of each crop's set (N,); below 0 for crops without a pixel of `UNLABELLED` or above. masks: (N, H, W)."""
    return masks.flatten(1).amax(1) - UNLABELLED


def lovasz_softmax(logits: Tensor, masks: Tensor, ignore_index: int, labelled: Tensor | None = None, step: int = 4) -> Tensor:
    """The Lovász extension of 1 - IoU, averaged over the classes that the batch shows (Berman et al. 2018, section 3).

    logits (N, C, H, W), masks (N, H, W). Only every `step`th pixel per axis counts, from a random offset: sorting all pixels
    would cost as much as the network.
    """
    top, left = (int(offset) for offset in torch.randint(step, (2,)))
    sample = masks[:, top::step, left::step]
    probabilities, is_class = _of_shown_classes(logits[..., top::step, left::step], sample, ignore_index, labelled)
    foreground = is_class.float()
    errors = (foreground - probabilities).abs()
    if not errors.numel():
        return torch.zeros((), device=logits.device)
    errors, order = errors.sort(1, descending=True)
    loss: Tensor = (errors * _lovasz_gradient(foreground.gather(1, order))).sum(1).mean()
    return loss


def soft_dice(logits: Tensor, masks: Tensor, ignore_index: int, labelled: Tensor | None = None) -> Tensor:
    """1 - Dice of the probabilities, 2 * sum(p * g) / (sum(p) + sum(g)), averaged over the classes that the batch shows.

    g is 1 at the class's pixels and 0 elsewhere; sums are over all labelled pixels of the batch (Drozdzal et al. 2016, as
    Isensee et al. 2021 take it: over a batch, beside the cross-entropy). logits (N, C, H, W), masks (N, H, W). 0 without
    labelled pixels.
    """
    probabilities, is_class = _of_shown_classes(logits, masks, ignore_index, labelled)
    if not probabilities.numel():
        return logits.float().sum() * 0
    overlap = (probabilities * is_class).sum(1)
    dice: Tensor = 2 * overlap / (probabilities.sum(1) + is_class.sum(1))
    return 1 - dice.mean()


def _of_shown_classes(logits: Tensor, masks: Tensor, ignore_index: int, labelled: Tensor | None) -> tuple[Tensor, Tensor]:
    """Probabilities (C, P) of the C classes that the masks show, at the P pixels without void; and whether they have the class.

    The probability counts as 0 where the class may be shown without a label. labelled: as in `cross_entropy`.
    """
    has_label = masks != ignore_index
    truth = masks[has_label]
    probabilities = logits.float().softmax(1).movedim(1, 0)[:, has_label]
    if labelled is not None:
        probabilities = probabilities * (labelled[(truth - UNLABELLED).clamp(min=0)].T | (truth < UNLABELLED))
    present = torch.unique(truth[truth < UNLABELLED])
    return probabilities[present], truth == present[:, None]


def _lovasz_gradient(foreground: Tensor) -> Tensor:
    """How much 1 - IoU grows with each further wrong pixel; errors are sorted from the largest (algorithm 1)."""
    total = foreground.sum(1, keepdim=True)
    misses = foreground.cumsum(1)
    jaccard = 1 - (total - misses) / (total + (1 - foreground).cumsum(1))
    return torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], 1)


def distillation(logits: Tensor, teacher: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean over pixels of the Kullback-Leibler divergence of softmax(logits) from the teacher's log-probabilities.

    where: bool (N, H, W), false for pixels where it counts as 0.
    """
    student = F.log_softmax(logits.float(), 1)
    divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(1)
    return (divergence if where is None else divergence * where).mean()


def median_frequency_weights(pixels: Integers, power: float) -> Tensor:
    """(median frequency / frequency) ** power of each class, float32 (classes,).

    pixels: the number of pixels of each class, int64 (classes,). A class without pixels gets the weight of the rarest class.
    """
    frequency = pixels / pixels.sum()
    is_shown = frequency > 0
    frequency = np.where(is_shown, frequency, frequency[is_shown].min())
    weights = (np.median(frequency[is_shown]) / frequency) ** power
    return torch.from_numpy(weights).float()
