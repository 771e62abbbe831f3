"""What `fcn-check` says of the training that would follow: its plan, and pictures of its crops. This needs PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from model.networks.device import choose_device
from training.commands.check_report import Picture, overlay
from training.learning.augmentation import AugmentedSplit
from training.learning.optimization import warmup_warning
from training.learning.plan import Facts, device_memory, plan, plan_lines
from training.learning.recipe import Recipe
from training.learning.start_facts import start_facts, with_rows
from training.survey.records import Survey

CROPS = 24  # pictures


def training_plan(args: argparse.Namespace, recipe: Recipe, train: Survey) -> tuple[Recipe, list[str]]:
    """The recipe with what follows the data, and lines of text on it. args: those of `fcn-check`."""
    lines: list[str] = []
    if recipe.plan:
        device = choose_device(args.device)
        start = start_facts(recipe, args.start, train.split.labels, train.split, str(device))
        recipe, proposals = plan(with_rows(recipe, start), Facts(train, start, device_memory(device)))
        lines = [*start.lines, *plan_lines(proposals)]
    warning = warmup_warning(recipe, recipe.epochs * recipe.steps_of_epoch(len(train.records)))
    return recipe, [*lines, *([warning] if warning else [])]


def crop_pictures(train: Survey, recipe: Recipe) -> Iterator[Picture]:
    """The first crops of the first epoch of frames that are spread over the split, each beside its labels."""
    data = AugmentedSplit(train, recipe, cache_bytes=0)
    for index in sorted({int(index) for index in np.linspace(0, len(data) - 1, CROPS)}):
        image, mask = data[0, index]
        pixels = image[:3].permute(1, 2, 0).numpy()
        yield np.hstack([pixels, overlay(pixels, mask.numpy().astype(np.uint8), train.split.labels)]), ""
