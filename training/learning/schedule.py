"""Proposes rates, steps, warm-up and losses of a training from the size of its data and from what its start knows.

`benchmarks/studies/small_sets.py` measures the rule; "Small data sets" in docs/accuracy.md has the rows that were run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from training.learning.recipe import Recipe
from training.learning.start_facts import StartFacts


@dataclass(frozen=True)
class Proposal:
    """A value of the recipe that follows the data or the start, and why."""

    name: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Manner:
    """How a network learns classes: the rate of its backbone, how many times as fast its head and its scores learn, its
    losses, and the share of crops that show a rare class.
    """

    learning_rate: float
    head_factor: float
    class_weights: str
    lovasz_weight: float
    rare_share: float


# where every class begins with the start's scores, these are the best there is: small steps, no loss that shifts their balance
KNOWN = Manner(1e-5, 5.0, "none", 0.0, 0.0)
# where it knows a part, the new scores learn fast, on a backbone that changes slowly and so keeps what it knows
PARTLY_KNOWN = Manner(2e-5, 50.0, "none", 0.0, 0.0)
NEW = Manner(2e-4, 5.0, "median", 0.5, 0.33)
LEAST_KNOWN = 0.25  # share of the classes that the start must know; below, what is new outweighs what could be lost
# optimiser steps: the published training of CamVid took 1,080 for 11 classes; twice as many gained nothing (docs/accuracy.md)
STEPS_OF_CLASS, FEWEST_STEPS, MOST_STEPS = 100, 600, 6000
KNOWN_STEPS = 240
FEWEST_EPOCHS, MOST_EPOCHS = 10, 200
MOST_WARMUP, WARMUP_SHARE = 50, 0.1
SMALL = 300  # frames; below, their statistics are worse than those of the start's data

SCHEDULE_NAMES = (
    "epochs",
    "warmup",
    "learning_rate",
    "head_factor",
    "class_weights",
    "lovasz_weight",
    "rare_share",
    "freeze_batch_norm",
)


def propose_schedule(
    name: str, recipe: Recipe, frames: int, classes: int, start: StartFacts, saved_values: Mapping[str, Any]
) -> Proposal:
    """The proposal for one of `SCHEDULE_NAMES`; the earlier ones, and the batch, are settled in the recipe.

    frames: of train. classes: of the data. saved_values: the recipe of the checkpoint that the training resumes from. Its
    warm-up stays, because the number of epochs may have changed.
    """
    of_epoch = recipe.steps_of_epoch(frames)
    if name == "epochs":
        return _epochs(start.known_share == 1, of_epoch, classes)
    if name == "warmup":
        if name in saved_values:
            return Proposal(name, saved_values[name], "as in the checkpoint")
        steps = recipe.epochs * of_epoch
        return Proposal(
            name, min(MOST_WARMUP, int(WARMUP_SHARE * steps)), f"{WARMUP_SHARE:.0%} of {steps:,} steps, at most {MOST_WARMUP}"
        )
    if name == "freeze_batch_norm":
        return _freeze_batch_norm(frames, start)
    return Proposal(name, getattr(_manner(start.known_share), name), _reason(start, classes))


def _manner(known_share: float) -> Manner:
    if known_share == 1:
        return KNOWN
    return PARTLY_KNOWN if known_share >= LEAST_KNOWN else NEW


def _epochs(is_known: bool, of_epoch: int, classes: int) -> Proposal:
    steps = KNOWN_STEPS if is_known else min(max(STEPS_OF_CLASS * classes, FEWEST_STEPS), MOST_STEPS)
    epochs = min(max(ceil(steps / of_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    what = "the start's classes" if is_known else f"{classes} classes"
    return Proposal("epochs", epochs, f"{epochs * of_epoch:,} steps, {of_epoch} an epoch, for {what}")


def _freeze_batch_norm(frames: int, start: StartFacts) -> Proposal:
    if not start.has_batch_norm:
        return Proposal("freeze_batch_norm", False, "the start has no statistics of batch norm for this network")
    is_small = frames < SMALL
    reason = f"{frames} frames; from {SMALL} on, statistics of batch norm are learned as well"
    return Proposal("freeze_batch_norm", is_small, reason)


def _reason(start: StartFacts, classes: int) -> str:
    if start.known_share == 1:
        return "every class begins with the start's scores"
    known_classes = round(start.known_share * classes)
    return f"{classes - known_classes} of {classes} classes are new to the start"
