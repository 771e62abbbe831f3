"""From an output of another program's network to logits, in numpy: the reference for what the converted file computes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.imported_network import OutputKind
from training.converting.errors import ConversionError

Array = npt.NDArray[Any]
OutputLayout = Literal["NCHW", "NHWC", "NHW"]
LEAST_PROBABILITY = 1e-6
"""Probabilities are at least this, and those of a sigmoid at most 1 minus this, so that their logarithms are finite."""
ID_LOGIT = 8.0
"""The logit of a pixel's class where a network gives ids; that of the others is 0. Overlapping tiles vote."""


def channels_first(values: Array, layout: OutputLayout) -> Array:
    """(channels, rows, columns) of an output."""
    first: Array = values if layout == "NHW" else values[0]
    return np.moveaxis(first, 2, 0) if layout == "NHWC" else first


def to_logits(values: Array, kind: OutputKind, classes: int) -> Array:
    """The logits (classes, rows, columns) of an output (channels, rows, columns), as the converted file computes them.

    Raises `ConversionError` for ids of no class.
    """
    logits: Array = values.astype(np.float32)
    if kind == "class_ids":
        if values.min() < 0 or values.max() >= classes or (values != np.round(values)).any():
            raise ConversionError(
                f"the network gives ids from {values.min():g} to {values.max():g}, and {classes} classes are named: name all, "
                "in the order of their ids"
            )
        logits = np.where(values[:1] == np.arange(classes)[:, None, None], np.float32(ID_LOGIT), np.float32(0))
    if kind == "probabilities":
        logits = np.log(np.clip(logits, LEAST_PROBABILITY, 1))
    if kind == "binary_probabilities":
        logits = np.clip(logits, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        logits = np.log(logits) - np.log(1 - logits)
    return np.concatenate([np.zeros_like(logits), logits]) if kind.startswith("binary") else logits
