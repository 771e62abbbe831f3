"""Proposes what follows the data, the memory and the start: working size, crop, batch, rates, steps, warm-up and losses.

`benchmarks/studies/small_sets.py` measures the rule; "Small data sets" in docs/accuracy.md has the rows that were run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.inference.cores import available_memory
from model.inference.scaling import working_size
from model.networks.builder import build_network
from training.learning.recipe import Recipe
from training.learning.start_facts import StartFacts
from training.survey.records import Survey


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
PLANNED_NAMES = ("side", "tile", "crop", "batch", "accumulate", *SCHEDULE_NAMES)
STEP = 32  # pixels; sides of crops and tiles are multiples of it
SMALLEST = 24  # pixels that a typical region of the smallest class should have at the working size: three cells of 8
LARGEST_SIDE, LARGEST_CROP, LARGEST_TILE = 1024, 512, 512
CROP_SHARE = 0.75  # of the working size
BATCH = 8
# Bytes of memory that a step takes for each value that the layers give for a pixel, and for each class and pixel. Measured with
# crops of 256: 4.5 for each value of a MobileNetV2, 3.1 of a VGG16; a small ResNet takes more beside its few values.
VALUE_BYTES, CLASS_BYTES = 6, 16
MEMORY_SHARE = 0.5  # of the memory that the batch may take
PIECE = 128  # pixels; side of the image on which a network's values are counted


def plan(
    recipe: Recipe,
    survey: Survey,
    start: StartFacts,
    memory: int | None,
    saved_values: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Recipe, list[Proposal]]:
    """The recipe with its `PLANNED_NAMES` values that nobody has stated, and these values with their reasons.

    For recipes that ask for a `plan`. memory: bytes of the device that trains; None if unknown. saved_values: the recipe of the
    checkpoint that the training resumes from. Its parts of a batch stay, because the free memory may have changed, and its
    warm-up, because the epochs may have.
    """
    proposals: list[Proposal] = []
    for name in PLANNED_NAMES:
        if name not in recipe.model_fields_set:
            proposals.append(_propose(name, recipe, survey, start, memory, saved_values))
            recipe = Recipe.model_validate(recipe.model_dump(exclude_unset=True) | {name: proposals[-1].value})
    return recipe, proposals


def plan_lines(proposals: list[Proposal]) -> list[str]:
    """The proposals as lines of text; the first says how to change them."""
    texts = [(proposal.name, _text(proposal.value), proposal.reason) for proposal in proposals]
    widest = max(len(name) for name, _, _ in texts)
    wide = max(len(value) for _, value, _ in texts)
    lines = [f"  {name:<{widest}}  {value:<{wide}}  {reason}" for name, value, reason in texts]
    return ["plan, from the data, the start and the memory; --set NAME=VALUE changes a value:", *lines]


def _text(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


def device_memory(device: torch.device) -> int | None:
    """The bytes of memory that a training on this device may use; None if unknown."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else available_memory()


def _propose(
    name: str, recipe: Recipe, survey: Survey, start: StartFacts, memory: int | None, saved_values: Mapping[str, Any]
) -> Proposal:
    """The proposal for one value; earlier names of `PLANNED_NAMES` are settled in the recipe."""
    if name == "side":
        return _side(survey, start.side)
    if name == "tile":
        tile = min(LARGEST_TILE, _multiple(recipe.side[1]))
        return Proposal(name, (tile, tile), "what the network sees at once in the service")
    if name == "crop":
        crop = _crop(recipe, survey)
        return Proposal(name, crop, f"{CROP_SHARE:.0%} of the working size, at most {LARGEST_CROP}")
    if name == "batch":
        return Proposal(name, min(BATCH, len(survey.records)), "crops of one step")
    if name == "accumulate":
        return _accumulate(recipe, len(survey.split.labels), memory, saved_values)
    return propose_schedule(name, recipe, len(survey.records), len(survey.split.labels), start, saved_values)


def _side(survey: Survey, start_side: tuple[int, int]) -> Proposal:
    """The working side: the start's; larger, up to the files' size, if the smallest class would be lost in it.

    Small frames are at most doubled.
    """
    longer = survey.longer_side
    base = min(max(working_size((longer, longer), "auto", start_side)), _multiple(2 * longer))
    smallest = min(_class_extents(survey).items(), key=lambda item: item[1], default=None)
    if smallest is None:
        return Proposal("side", (base, base), "the start's")
    class_id, extent = smallest
    needed_side = min(_multiple(ceil(SMALLEST / extent)), LARGEST_SIDE, _multiple(longer))
    side = max(base, needed_side)
    name, pixels = survey.split.labels.names[class_id], round(extent * side)
    reason = (
        f"frames of {longer} pixels; a region of the smallest class, {name!r}, is then typically as large as {pixels}x{pixels}"
    )
    return Proposal("side", (side, side), reason)


def _class_extents(survey: Survey) -> dict[int, float]:
    """The side of each class's typical region, the median over the frames that show it, as a share of the longer side."""
    extents: dict[int, list[float]] = {}
    for record in survey.records:
        for source, extent in record.extents.items():
            target = int(survey.split.mapping.table[source])
            if target < len(survey.split.labels):
                extents.setdefault(target, []).append(extent)
    return {class_id: float(np.median(values)) for class_id, values in extents.items()}


def _crop(recipe: Recipe, survey: Survey) -> tuple[int, int]:
    """The (height, width) of crops, from the working sizes of nine frames in ten."""
    sizes = [working_size(record.size, "auto", recipe.side) for record in survey.records]
    height, width = np.quantile(np.array(sizes), 0.9, axis=0).tolist()
    return _crop_side(height), _crop_side(width)


def _crop_side(side: float) -> int:
    return min(LARGEST_CROP, _multiple(CROP_SHARE * side))


def _accumulate(recipe: Recipe, classes: int, memory: int | None, saved_values: Mapping[str, Any]) -> Proposal:
    """The number of parts of a batch: the saved one for the same batch of crops, else as many as fit into the memory."""
    if (saved_values.get("crop"), saved_values.get("batch")) == (recipe.crop, recipe.batch):
        return Proposal("accumulate", saved_values["accumulate"], "parts of a batch, as in the checkpoint")
    crop_bytes = recipe.crop[0] * recipe.crop[1] * (VALUE_BYTES * _values_of_pixel(recipe, classes) + CLASS_BYTES * classes)
    if memory is None:
        return Proposal("accumulate", 1, "parts of a batch; the memory is unknown")
    crops = max(1, int(MEMORY_SHARE * memory / crop_bytes))
    parts = min(recipe.batch, ceil(recipe.batch / crops))
    part_gb, total_gb = crop_bytes * ceil(recipe.batch / parts) / 1e9, memory / 1e9
    return Proposal("accumulate", parts, f"parts of a batch; one takes about {part_gb:.1f} of {total_gb:.1f} GB")


def _values_of_pixel(recipe: Recipe, classes: int) -> float:
    """The number of values that the network's layers give for each pixel of an image."""
    counts: list[int] = []

    def count(layer: nn.Module, _: tuple[Any, ...], output: object) -> None:
        if isinstance(output, Tensor) and not list(layer.children()):
            counts.append(output.numel())

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        net = build_network(recipe.architecture(classes)).eval()
        for layer in net.modules():
            layer.register_forward_hook(count)
        net(torch.zeros(1, 3, PIECE, PIECE))
    return sum(counts) / PIECE**2


def _multiple(pixels: float) -> int:
    """The next multiple of `STEP`, at least one."""
    return max(1, ceil(pixels / STEP)) * STEP


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
