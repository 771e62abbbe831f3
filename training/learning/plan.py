"""Proposes what follows the data, the memory and the start: working size, crop, batch, rates, steps, warm-up and losses.

`benchmarks/studies/small_sets.json` measures the rule: "Small data sets" in docs/accuracy.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.inference.cores import available_memory
from model.inference.scaling import working_size
from model.networks.builder import build_network
from model.weights_file import DEFAULT_WEIGHTS
from training.learning.augmentation import rare_line, scale_warning
from training.learning.optimization import warmup_warning
from training.learning.recipe import Recipe
from training.learning.start_description import StartDescription, describe_start, with_rows
from training.learning.starts import Start, read_start
from training.survey.records import Survey

Preset = dict[str, Any]
# where every class begins with the start's scores, these are the best there is: small steps, no loss that shifts their balance
KNOWN: Preset = {"learning_rate": 1e-5, "head_factor": 5.0, "class_weights": "none", "lovasz_weight": 0.0, "rare_share": 0.0}
# where it knows a part, the new scores learn fast, on a backbone that changes slowly and so keeps what it knows
PARTLY_KNOWN = KNOWN | {"learning_rate": 2e-5, "head_factor": 50.0}
NEW: Preset = {"learning_rate": 2e-4, "head_factor": 5.0, "class_weights": "median", "lovasz_weight": 0.5, "rare_share": 0.33}
LEAST_KNOWN = 0.25  # share of the classes that the start must know; below, what is new outweighs what could be lost
# optimiser steps: the published training of CamVid took 1,080 for 11 classes; twice as many gained nothing (docs/accuracy.md)
STEPS_OF_CLASS, FEWEST_STEPS, MOST_STEPS = 100, 600, 6000
KNOWN_STEPS = 240
FEWEST_EPOCHS, MOST_EPOCHS = 10, 200
MOST_WARMUP, WARMUP_SHARE = 50, 0.1
SMALL = 300  # frames; below, their statistics are worse than those of the start's data
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


@dataclass(frozen=True)
class PlanInputs:
    """What a plan follows.

    memory: bytes of the device that trains; None if unknown. saved_values: the recipe of the checkpoint that the training
    resumes from. Its parts of a batch stay, because the free memory may have changed, and its warm-up, because the epochs may
    have.
    """

    survey: Survey
    start: StartDescription
    memory: int | None = None
    saved_values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """The number of frames to learn from."""
        return len(self.survey.records)

    @property
    def classes(self) -> int:
        """The number of the data's classes."""
        return len(self.survey.split.labels)


def plan(recipe: Recipe, inputs: PlanInputs) -> tuple[Recipe, dict[str, str]]:
    """The recipe with its values of `RULES` that nobody has stated, and the reasons for these values by name.

    For recipes that ask for a `plan`. A rule may use the values that come before its own.
    """
    reasons: dict[str, str] = {}
    for name, rule in RULES.items():
        if name not in recipe.model_fields_set:
            value, reasons[name] = rule(recipe, inputs)
            recipe = Recipe.model_validate(recipe.model_dump(exclude_unset=True) | {name: value})
    return recipe, reasons


def plan_training(
    recipe: Recipe, train: Survey, start: Start, device: torch.device, saved_values: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Recipe, list[str]]:
    """The recipe with the values that follow the data and the start; and lines that say why, and what does not fit.

    saved_values: the recipe of the checkpoint that the training resumes from.
    """
    description = describe_start(recipe, start, train.split, str(device), saved_values)
    recipe, lines = with_rows(recipe, description), list(description.lines)
    if recipe.plan:
        recipe, reasons = plan(recipe, PlanInputs(train, description, device_memory(device), saved_values))
        lines += plan_lines(recipe, reasons)
    if recipe.rare_share:
        lines.append(rare_line(train, recipe.rare_share))
    steps = recipe.epochs * recipe.steps_of_epoch(len(train.records))
    warnings = (scale_warning(train.longer_side, recipe), warmup_warning(recipe, steps))
    return recipe, [*lines, *filter(None, warnings)]


def plan_without_start(recipe: Recipe, train: Survey, device: torch.device) -> tuple[Recipe, list[str]]:
    """As `plan_training` with the start `none`; the first line says so, and what the default weights change."""
    plan_recipe, lines = plan_training(recipe, train, read_start("none"), device)
    line = "no --start is given, so this is the plan of random weights; give the --start of the training"
    try:
        description = describe_start(recipe, read_start(DEFAULT_WEIGHTS), train.split, str(device))
    except ValueError:  # the weights are not there, or do not fit the recipe
        return plan_recipe, [line, *lines]
    if recipe.plan and description.scores:
        other, _ = plan(with_rows(recipe, description), PlanInputs(train, description, device_memory(device)))
        pairs = [(name, getattr(other, name)) for name in RULES if getattr(other, name) != getattr(plan_recipe, name)]
        changes = ", ".join(f"{name} {json.dumps(value)}" for name, value in pairs)
        line += f". With --start {DEFAULT_WEIGHTS} ({description.lines[0]}): {changes}"
    return plan_recipe, [line, *lines]


def plan_lines(recipe: Recipe, reasons: Mapping[str, str]) -> list[str]:
    """The values of a plan and their reasons as lines of text; the first says how to change them."""
    values = {name: json.dumps(getattr(recipe, name)) for name in reasons}  # as TOML writes these values
    widest, wide = max(map(len, values), default=0), max(map(len, values.values()), default=0)
    lines = [f"  {name:<{widest}}  {values[name]:<{wide}}  {reason}" for name, reason in reasons.items()]
    return ["plan, from the data, the start and the memory; --set NAME=VALUE changes a value:", *lines]


def device_memory(device: torch.device) -> int | None:
    """The bytes of memory that a training may use on this device; None if the system does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return available_memory()


def _side(_: Recipe, inputs: PlanInputs) -> tuple[tuple[int, int], str]:
    """The working side: the start's; larger, up to the files' size, if the smallest class would be lost in it.

    Small frames are at most doubled.
    """
    survey, longer = inputs.survey, inputs.survey.longer_side
    base = min(max(working_size((longer, longer), "auto", inputs.start.side)), _multiple(2 * longer))
    smallest = min(_class_extents(survey).items(), key=lambda item: item[1], default=None)
    if smallest is None:
        return (base, base), "the start's"
    class_id, extent = smallest
    side = max(base, min(_multiple(ceil(SMALLEST / extent)), LARGEST_SIDE, _multiple(longer)))
    name, pixels = survey.split.labels.names[class_id], round(extent * side)
    return (
        (side, side),
        f"frames of {longer} pixels; a region of the smallest class, {name!r}, is then typically as large as {pixels}x{pixels}",
    )


def _class_extents(survey: Survey) -> dict[int, float]:
    """The side of each class's typical region, the median over the frames that show it, as a share of the longer side."""
    extents = dict[int, list[float]]()
    for index, source, class_id in survey.labelled_ids():
        if extent := survey.records[index].extents.get(source):
            extents.setdefault(class_id, []).append(extent)
    return {class_id: float(np.median(values)) for class_id, values in extents.items()}


def _tile(recipe: Recipe, _: PlanInputs) -> tuple[tuple[int, int], str]:
    tile = min(LARGEST_TILE, _multiple(recipe.side[1]))
    return (tile, tile), "what the network sees at once in the service"


def _crop(recipe: Recipe, inputs: PlanInputs) -> tuple[tuple[int, int], str]:
    """The (height, width) of crops, from the working sizes of nine frames in ten."""
    sizes = [working_size(record.size, "auto", recipe.side) for record in inputs.survey.records]
    height, width = (
        min(LARGEST_CROP, _multiple(CROP_SHARE * side)) for side in np.quantile(np.array(sizes), 0.9, axis=0).tolist()
    )
    return (height, width), f"{CROP_SHARE:.0%} of the working size, at most {LARGEST_CROP}"


def _batch(_: Recipe, inputs: PlanInputs) -> tuple[int, str]:
    return min(BATCH, inputs.frames), "crops of one step"


def _accumulate(recipe: Recipe, inputs: PlanInputs) -> tuple[int, str]:
    """The number of parts of a batch: the saved one for the same batch of crops, else as many as fit into the memory."""
    saved_values, classes = inputs.saved_values, inputs.classes
    if (saved_values.get("crop"), saved_values.get("batch")) == (recipe.crop, recipe.batch):
        return saved_values["accumulate"], "parts of a batch, as in the checkpoint"
    if inputs.memory is None:
        return 1, "parts of a batch; the memory is unknown"
    crop_bytes = recipe.crop[0] * recipe.crop[1] * (VALUE_BYTES * _values_of_pixel(recipe, classes) + CLASS_BYTES * classes)
    crops = max(1, int(MEMORY_SHARE * inputs.memory / crop_bytes))
    parts = min(recipe.batch, ceil(recipe.batch / crops))
    part_gb, total_gb = crop_bytes * ceil(recipe.batch / parts) / 1e9, inputs.memory / 1e9
    return parts, f"parts of a batch; one takes about {part_gb:.1f} of {total_gb:.1f} GB"


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


def _epochs(recipe: Recipe, inputs: PlanInputs) -> tuple[int, str]:
    is_known = inputs.start.known_share == 1
    steps = KNOWN_STEPS if is_known else min(max(STEPS_OF_CLASS * inputs.classes, FEWEST_STEPS), MOST_STEPS)
    of_epoch = recipe.steps_of_epoch(inputs.frames)
    epochs = min(max(ceil(steps / of_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    what = "the start's classes" if is_known else f"{inputs.classes} classes"
    return epochs, f"{epochs * of_epoch:,} steps, {of_epoch} an epoch, for {what}"


def _warmup(recipe: Recipe, inputs: PlanInputs) -> tuple[int, str]:
    if "warmup" in inputs.saved_values:
        return inputs.saved_values["warmup"], "as in the checkpoint"
    steps = recipe.epochs * recipe.steps_of_epoch(inputs.frames)
    return min(MOST_WARMUP, int(WARMUP_SHARE * steps)), f"{WARMUP_SHARE:.0%} of {steps:,} steps, at most {MOST_WARMUP}"


def _by_start(name: str, _: Recipe, inputs: PlanInputs) -> tuple[Any, str]:
    """A value that follows how much the start knows."""
    known_share = inputs.start.known_share
    if known_share == 1:
        return KNOWN[name], "every class begins with the start's scores"
    if not inputs.start.rows:
        return NEW[name], "no class begins with a start's scores"
    values = PARTLY_KNOWN if known_share >= LEAST_KNOWN else NEW
    new_classes = inputs.classes - round(known_share * inputs.classes)
    return values[name], f"{new_classes} of {inputs.classes} classes are new to the start"


def _freeze_batch_norm(_: Recipe, inputs: PlanInputs) -> tuple[bool, str]:
    if not inputs.start.has_batch_norm:
        return False, "there are no statistics of batch norm to begin with"
    frames = inputs.frames
    return frames < SMALL, f"{frames} frames; from {SMALL} on, statistics of batch norm are learned as well"


RULES: dict[str, Callable[[Recipe, PlanInputs], tuple[Any, str]]] = {
    "side": _side,
    "tile": _tile,
    "crop": _crop,
    "batch": _batch,
    "accumulate": _accumulate,
    "epochs": _epochs,
    "warmup": _warmup,
    **{name: partial(_by_start, name) for name in NEW},
    "freeze_batch_norm": _freeze_batch_norm,
}
