"""Probabilities of classes: the softmax of logits / temperature."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from common.arrays import Floats32, Ids
from model.inference.merging import Logits

LEAST_ODDS = np.float32(1e-12)  # keeps logarithms finite; the probability of such odds rounds to 0, that of the others to 1


def softmax(logits: Logits, temperature: float) -> Logits:
    """Probabilities of all classes, float32 (classes, rows, width), from logits of this shape."""
    exponentials = np.exp((logits - logits.max(0)) / temperature)
    probabilities: Logits = exponentials / exponentials.sum(0)
    return probabilities


def to_probabilities(cells: Logits, temperature: float) -> Logits:
    """Replaces logits (rows, columns, classes) in place by the probabilities of all classes."""
    powers = _powers_of_cells(cells, temperature, out=cells)
    powers /= powers.sum(2, keepdims=True)
    return powers


def probability_of_ids(logits: Logits, ids: Ids, temperature: float) -> Floats32:
    """The probability of one class in each row, float32 (N,), from logits (N, classes). ids: uint8 (N,), these classes."""
    powers = _powers(logits, temperature)
    return np.asarray(powers[ids, np.arange(len(ids))] / powers.sum(0), np.float32)


def log_odds(cells: Logits, temperature: float) -> Floats32:
    """log(p / (1 - p)), float32 (rows, columns), from logits (rows, columns, classes). p: the highest probability."""
    powers = _powers_of_cells(cells, temperature)
    np.put_along_axis(powers, cells.argmax(2)[:, :, None], 0, 2)
    return np.asarray(-np.log(np.maximum(powers.sum(2), LEAST_ODDS)), np.float32)


def log_odds_of(cells: Logits, class_ids: Collection[int], temperature: float) -> Floats32:
    """log(p / (1 - p)), float32 (rows, columns), from logits (rows, columns, classes). p: the probability of these classes."""
    powers = _powers_of_cells(cells, temperature)
    inside = np.isin(np.arange(powers.shape[2]), list(class_ids))
    odds = [np.maximum(powers[:, :, which].sum(2), LEAST_ODDS) for which in (inside, ~inside)]
    return np.asarray(np.log(odds[0]) - np.log(odds[1]), np.float32)


def _powers(logits: Logits, temperature: float) -> Logits:
    """exp((logits - highest) / temperature), (classes, N), from logits (N, classes): numpy reduces the first axis faster."""
    powers = np.ascontiguousarray(logits.T)
    powers -= powers.max(0)
    powers *= np.float32(1 / temperature)
    np.exp(powers, out=powers)
    return powers


def _powers_of_cells(cells: Logits, temperature: float, out: Logits | None = None) -> Logits:
    """exp((logits - highest) / temperature), in the shape of the logits (rows, columns, classes). out: for the result."""
    powers: Logits = np.subtract(cells, cells.max(2, keepdims=True), out=out)
    powers *= np.float32(1 / temperature)
    np.exp(powers, out=powers)
    return powers
