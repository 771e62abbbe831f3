"""Divides the frames of a data set into groups or folds, so that each frame is scored by a network that has not seen it.

A group has the frames whose names begin alike, such as the drives of CamVid. A pattern is a regular expression that matches the
beginning of a frame's name. The group is the match, or its first capturing group if the pattern has one.

Frames that belong together stay in one fold: copies, images that look alike, tiles of one block of ground, and the frames of
one group.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from common.arrays import Integers, Mask
from imaging.regions import component_roots
from training.data.problems import DataError
from training.data.split import Split
from training.survey.photos import look_alike
from training.survey.records import Survey, firsts

POOL = "train and val"
PATTERN_HELP = (
    "a regular expression for the beginning of a frame's name; the group is what it matches, or what its first parentheses "
    "match"
)


def pooled(train: Split, validation: Split) -> Split:
    """One split of the frames of both; a frame that both list is there once."""
    frames = {frame.image: frame for frame in (*train.frames, *validation.frames)}
    notes = dict.fromkeys((*train.notes, *validation.notes))
    missing = (*train.missing, *validation.missing)
    return replace(train, name=POOL, frames=tuple(frames.values()), notes=tuple(notes), missing=missing)


def divide(survey: Survey, folds: int, pattern: str | None) -> Integers:
    """The fold of each frame, int64 (F,), 0 to `folds` - 1; equal for equal data.

    pattern: finds the group at the beginning of a frame's name; None if names have no groups. Each fold gets about equal
    numbers of frames of each class, the rare classes first (iterative stratification, Sechidis et al. 2011). Raises
    `DataError` if there are fewer units of frames than folds.
    """
    units = belonging(survey, pattern)
    number = int(units.max(initial=-1)) + 1
    if number < folds:
        raise DataError(
            f"{len(units)} frames of {survey.split.name!r} make {number} units of frames that belong together, fewer than "
            f"{folds} folds; give a smaller --folds, or a finer --group-pattern"
        )
    frames_of_unit = np.bincount(units)
    frames_of_class = np.zeros((number, len(survey.split.labels)), np.int64)
    np.add.at(frames_of_class, units, (survey.class_pixels > 0).astype(np.int64))
    return _stratified(frames_of_unit, frames_of_class, folds)[units]


def belonging(survey: Survey, pattern: str | None) -> Integers:
    """The unit of each frame, int64 (F,): frames that belong together, directly or through others, have one number."""
    frames, records = survey.split.frames, survey.records
    hashes = [record.image_hash for record in records]
    one_colour = {index for index, record in enumerate(records) if record.appearance == "one colour"}
    pairs = [pair for pair in look_alike(hashes, hashes) if pair[0] < pair[1] and not one_colour & set(pair)]
    keys = [[record.image_sha256 for record in records]]
    keys.append([survey.split.blocks.get(frame.name, f"frame {frame.name}") for frame in frames])
    if pattern is not None:
        keys.append([group_name(frame.name, pattern) for frame in frames])
    for names in keys:
        pairs += zip(firsts(names), range(len(names)), strict=True)
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return np.unique(component_roots(len(frames), first, second), return_inverse=True)[1].astype(np.int64)


def group_name(name: str, pattern: str) -> str:
    """The group of a frame of this name; raises `DataError` if it has none, or for a pattern that is none."""
    try:
        match = re.match(pattern, name)
    except re.error as error:
        raise DataError(f"--group-pattern must be a regular expression, got {pattern!r}: {error}") from error
    group = (match[1] if match.re.groups else match[0]) if match else None
    if not group:
        raise DataError(f"{pattern!r} finds no group at the beginning of the frame's name {name!r}")
    return group


def _stratified(frames: Integers, frames_of_class: Integers, folds: int) -> Integers:
    """The fold of each unit. frames: the frames of each unit (U,). frames_of_class: those that show each class (U, classes)."""
    fold_of = np.full(len(frames), -1, np.int64)
    frame_quota = np.full(folds, frames.sum() / folds)
    class_quota = np.tile(frames_of_class.sum(0) / folds, (folds, 1))
    while (fold_of < 0).any():
        rest = np.flatnonzero(fold_of < 0)
        left = frames_of_class[rest].sum(0)
        rarest = int(np.where(left > 0, left, left.max() + 1).argmin())
        # the units that show most of the rarest class first; if no class is left, the largest ones
        size = frames_of_class[rest, rarest] * (frames.sum() + 1) + frames[rest]
        unit = int(rest[size.argmax()])
        empty = np.bincount(fold_of[fold_of >= 0], minlength=folds) == 0
        # no fold may stay empty
        candidates = np.flatnonzero(empty) if empty.sum() >= len(rest) else np.arange(folds)
        quota = class_quota[candidates, rarest] if frames_of_class[unit, rarest] else np.zeros(len(candidates))
        best = candidates[np.lexsort((candidates, -frame_quota[candidates], -quota.round(6)))[0]]
        fold_of[unit] = best
        frame_quota[best] -= frames[unit]
        class_quota[best] -= frames_of_class[unit]
    return fold_of


def part(survey: Survey, inside: Mask, name: str) -> Survey:
    """The survey of those frames for which `inside` (F,) is true, as a split of this name."""
    indices = np.flatnonzero(inside).tolist()
    split = replace(survey.split, name=name, frames=tuple(survey.split.frames[index] for index in indices))
    return Survey(split, tuple(survey.records[index] for index in indices))
