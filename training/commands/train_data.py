"""The data of `fcn-train`: the frames to learn from and the frames to score on, by the command's arguments."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from model.labels import LabelSet
from training.commands.command import print_lines
from training.data.class_mapping import ClassMapping, parse_class_mapping
from training.data.label_files import find_labels
from training.data.problems import raise_all
from training.learning.augmentation import rare_line, scale_warning
from training.learning.checkpoint import saved_recipe
from training.learning.optimization import warmup_warning
from training.learning.plan import Facts, device_memory, plan, plan_lines
from training.learning.recipe import Recipe
from training.learning.start_facts import start_facts, with_rows
from training.survey.datasets import get_split, get_splits
from training.survey.folds import pooled
from training.survey.groups import GROUP, groups, only, without
from training.survey.inspection import Report, pair_errors, pair_notes
from training.survey.records import Survey, survey_all


@dataclass(frozen=True)
class TrainingData:
    """The surveyed splits of a training.

    score_mapping: from the classes of `train` to those of `validation`, if these are fewer.
    """

    train: Survey
    validation: Survey
    score_mapping: ClassMapping | None


def read_training_data(args: argparse.Namespace, file: Path) -> TrainingData:
    """Surveys both splits; prints how masks are read, and what may be wrong.

    file: where the survey's records are kept. Raises `DataError` for errors in the data, and `ValueError` for wrong arguments.
    """
    labels, mapping, score_mapping = _classes(args)
    validation_name = args.train_split if args.group else args.val_split
    validation_mapping = _chain(mapping, score_mapping)
    split, validation = get_splits(
        partial(get_split, args.data, args.train_split, labels, mapping, args.masks, args.masks_orientation),
        partial(get_split, args.data, validation_name, labels, validation_mapping, args.masks, args.masks_orientation),
    )
    if args.group:
        pattern = args.group_pattern or GROUP
        split = without(split, args.group, pattern)
        validation = only(validation, args.group, pattern)
    train, val = survey_all([split, validation], file=file)
    data = TrainingData(train, val, score_mapping)
    _print_reports(data)
    return data


def read_pool(args: argparse.Namespace, file: Path) -> TrainingData:
    """Surveys the frames of train and val as one split; prints how masks are read, and what may be wrong.

    `train` and `validation` of the result have the same frames; the masks of `validation` are mapped to the classes of the
    score. file, errors: as of `read_training_data`.
    """
    labels, mapping, score_mapping = _classes(args)
    train, validation = get_splits(
        *(
            partial(get_split, args.data, name, labels, mapping, args.masks, args.masks_orientation)
            for name in (args.train_split, args.val_split)
        )
    )
    (pool,) = survey_all([pooled(train, validation)], file=file)
    report = Report(pool)
    raise_all(report.errors(fewest_classes=2))
    print_lines([report.meaning, *report.notes])
    score_pool = Survey(replace(pool.split, mapping=_chain(mapping, score_mapping) or pool.split.mapping), pool.records)
    return TrainingData(pool, score_pool, score_mapping)


def _classes(args: argparse.Namespace) -> tuple[LabelSet, ClassMapping | None, ClassMapping | None]:
    """The classes of the masks, the mapping to those of the training, and from these to those of the score."""
    labels = find_labels(args.labels, args.data)
    mapping = parse_class_mapping(args.class_map, labels) if args.class_map else None
    if not args.score_map:
        return labels, mapping, None
    trained_labels = mapping.labels if mapping else labels
    return labels, mapping, parse_class_mapping(args.score_map, trained_labels).require_complete(trained_labels)


def survey_groups(args: argparse.Namespace, file: Path) -> list[str]:
    """Surveys the whole of the train split into `file`; gives the names of its groups."""
    labels = find_labels(args.labels, args.data)
    split = get_split(args.data, args.train_split, labels, None, args.masks, args.masks_orientation)
    names = groups(split, args.group_pattern or GROUP)
    survey_all([split], file=file)
    return names


def plan_training(recipe: Recipe, train: Survey, start: str, device: torch.device, folder: Path) -> Recipe:
    """The recipe with the values that follow the data and the start; prints them with their reasons, and what does not fit.

    folder: where the training's checkpoint is, if it resumes.
    """
    saved_values = saved_recipe(folder)
    facts = start_facts(recipe, start, train.split.labels, train.split, str(device), saved_values)
    if facts.lines:
        print_lines(facts.lines)
    recipe = with_rows(recipe, facts)
    if recipe.plan:
        recipe, proposals = plan(recipe, Facts(train, facts, device_memory(device), saved_values))
        print("\n".join(plan_lines(proposals)))
    if recipe.rare_share:
        print(rare_line(train, recipe.rare_share))
    steps = recipe.epochs * recipe.steps_of_epoch(len(train.records))
    for warning in (scale_warning(train.longer_side, recipe), warmup_warning(recipe, steps)):
        if warning:
            print(warning)
    return recipe


def _print_reports(data: TrainingData) -> None:
    """Prints the reports on both splits; raises `DataError` if the training cannot learn from them or be scored on them."""
    raise_all(pair_errors(data.train, data.validation))
    print_lines([Report(data.train).meaning, *pair_notes(data.train, data.validation)])


def _chain(first: ClassMapping | None, second: ClassMapping | None) -> ClassMapping | None:
    """One mapping that applies `first`, then `second`; None without both."""
    if first is None or second is None:
        return second or first
    return ClassMapping(second.table[first.table], second.labels)
