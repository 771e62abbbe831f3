"""Says which of a start's classes count for a data set's classes, and takes their rows from the start's score layers.

A start is the network whose weights a training begins with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, permutations

import numpy as np
import torch
from torch import Tensor

from common.arrays import Integers
from model.architecture import Architecture
from model.networks.builder import build_network
from model.networks.fcn import FCN
from training.data.label_files import name_key
from training.data.network_classes import MOST, NEW, background_id
from training.data.problems import first_names


def scores_of_classes(
    rows: Sequence[int], names: Sequence[str], class_scores: Sequence[int], answers: Integers
) -> tuple[tuple[int, ...], ...]:
    """For each class of the data, the indices of the start's scores that count for it, and `NEW` if it gets a new score.

    A class that the start knows by name has the scores of that class. Every other class is new. If the start does not know the
    background, a new class has a new score alone (`own_scores`).
    If the start knows the background, each of its classes that the data lacks counts for a class of the data. So the untrained
    network answers as the start does. The rules:

    - A class of the start that the data lacks counts for the class of the data in whose pixels the start predicts it most
      often, if that class is new. Else, or if the start never predicts it, it counts for the background.
    - A new class gets a new score, unless the start predicts classes that count for it in more than half of its pixels.

    rows: for each class of the data, the start's class, or `NEW`. names: of the data's classes. class_scores: for each class of
    the start, the number of its scores. answers: int64 (classes of the data, classes of the start). answers[i, j]: in how many
    pixels of the data's class i the start predicts its class j; 0 if the start was not asked.
    """
    background = known_background(rows, names)
    if background is None:
        return own_scores(rows, class_scores, len(rows))
    scores = _scores_of(class_scores)
    start_classes = [[] if row == NEW else [row] for row in rows]  # that count for each class of the data
    for row in sorted(set(range(len(scores))) - set(rows)):
        most_frequent = int(answers[:, row].argmax())
        is_of_new_class = rows[most_frequent] == NEW and answers[most_frequent, row] > 0
        start_classes[most_frequent if is_of_new_class else background].append(row)
    result = []
    for own_row, class_rows, pixels in zip(rows, start_classes, answers, strict=True):
        needs_new = own_row == NEW and 2 * pixels[class_rows].sum() <= pixels.sum()
        result.append((*(score for row in class_rows for score in scores[row]), *([NEW] if needs_new else [])))
    return tuple(result)


def known_background(rows: Sequence[int], names: Sequence[str]) -> int | None:
    """The background's index among the data's classes; None if the start does not know the background.

    rows, names: as of `scores_of_classes`.
    """
    index = background_id(names)
    return index if index < len(names) and rows[index] != NEW else None


def own_scores(rows: Sequence[int], class_scores: Sequence[int], classes: int) -> tuple[tuple[int, ...], ...]:
    """For each class of the data, the scores of its class of the start, or `NEW` alone for a new class.

    rows, class_scores: as of `scores_of_classes`. classes: of the data. Raises `ValueError` for rows that do not fit.
    """
    if len(rows) != classes or not all(NEW <= row < len(class_scores) for row in rows):
        raise ValueError(_mismatch("start_rows", f"{classes} classes", len(class_scores), rows))
    scores = _scores_of(class_scores)
    return tuple((NEW,) if row == NEW else scores[row] for row in rows)


def score_lines(
    names: Sequence[str], scores: Sequence[Sequence[int]], start_names: Sequence[str], class_scores: Sequence[int]
) -> list[str]:
    """Lines of text that say which classes of the start count for a class of the data with another name.

    names, class_scores: as of `scores_of_classes`. scores: its result. start_names: of the start's classes.
    """
    score_names = [name for name, number in zip(start_names, class_scores, strict=True) for _ in range(number)]
    lines = []
    for name, indices in zip(names, scores, strict=True):
        own_names = dict.fromkeys(score_names[score] for score in indices if score != NEW)
        if others := [other for other in own_names if name_key(other) != name_key(name)]:
            new = "; it also has a new score" if NEW in indices else ""
            lines.append(f"what the start says is {first_names(others, MOST)} counts as {name}{new}")
    return lines


def match_lines(names: Sequence[str], start_names: Sequence[str], rows: Sequence[int]) -> list[str]:
    """Lines of text that say which classes of the data the start knows, and which are new. rows: as of `scores_of_classes`."""
    shared_names = [name for name, row in zip(names, rows, strict=True) if row != NEW]
    new = [name for name, row in zip(names, rows, strict=True) if row == NEW]
    others = len(set(range(len(start_names))) - set(rows))
    rest = f"; {others} of the start's classes are not in the data" if others else ""
    if not shared_names:
        return [f"no class has the name of one of the start's {len(start_names)}: the scores of all {len(names)} are new"]
    if not new:
        return [f"the start knows all {len(names)} classes by name: {first_names(shared_names, MOST)}{rest}"]
    count = f"{len(shared_names)} of {len(names)}"
    return [f"the start knows {count} classes by name: {first_names(shared_names, MOST)}; new: {first_names(new, MOST)}{rest}"]


def score_tensors(net: FCN, state: Mapping[str, Tensor], rows: Sequence[int]) -> dict[str, Tensor]:
    """The tensors of the network's score layers by name, with rows of the start's tensors.

    state: the start's tensors. rows: for each score of the network, a row of the start, or `NEW`: the network's own row stays.
    A tensor that maps classes to classes, such as one of learned upsampling, has two axes of classes. There, all values of a
    new class stay the network's own.
    The result lacks a tensor that `state` lacks. It also lacks a tensor whose axes without classes have other lengths in
    `state`. Raises `ValueError` for rows that do not fit the start.
    """
    if not rows:
        return {}
    network, layers = net.state_dict(), {}
    for name, axes in class_axes(net.architecture).items():
        if name not in state or state[name].ndim != network[name].ndim:
            continue
        own, start = network[name], state[name].to(network[name].dtype)
        start_classes = start.shape[axes[0]]
        if len(rows) != net.architecture.num_scores or not all(NEW <= row < start_classes for row in rows):
            field, noun = ("start_scores", "scores") if net.architecture.class_scores else ("start_rows", "classes")
            raise ValueError(_mismatch(field, f"{net.architecture.num_scores} {noun}", start_classes, rows))
        if [s for i, s in enumerate(own.shape) if i not in axes] == [s for i, s in enumerate(start.shape) if i not in axes]:
            layers[name] = _with_rows(own, start, axes, rows)
    return layers


def class_axes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """By name, the axes of a tensor whose lengths depend on the number of classes; without tensors that have no such axis."""
    with torch.device("meta"):
        one, two = (build_network(replace(architecture, num_classes=number, class_scores=())).state_dict() for number in (1, 2))
    axes_by_name = {name: tuple(i for i, size in enumerate(one[name].shape) if size != two[name].shape[i]) for name in one}
    return {name: axes for name, axes in axes_by_name.items() if axes}


def _scores_of(class_scores: Sequence[int]) -> list[tuple[int, ...]]:
    """The indices of each class's scores. class_scores: the number of scores of each class."""
    return [tuple(range(end - number, end)) for number, end in zip(class_scores, accumulate(class_scores), strict=True)]


def _mismatch(field: str, what: str, start_count: int, rows: Sequence[int]) -> str:
    return f"{field} must name, for each of {what}, one of the start's {start_count}, or {NEW} for a new one; got {list(rows)}"


def _with_rows(own: Tensor, start: Tensor, axes: Sequence[int], rows: Sequence[int]) -> Tensor:
    """A copy of the network's tensor `own`, in which rows of the tensor `start` replace rows along each of the axes.

    With two axes, the value between two classes that share a row of the start stays the network's own: the start's value there
    would add each of the two to the other.
    """
    known_indices = [index for index, row in enumerate(rows) if row != NEW]
    known_rows = [rows[index] for index in known_indices]
    own_places, start_places = (
        np.ix_(*(indices if axis in axes else range(size) for axis, size in enumerate(own.shape)))
        for indices in (known_indices, known_rows)
    )
    result = own.clone()
    result[own_places] = start[start_places]
    for first, second in permutations(range(len(rows)), 2) if len(axes) == 2 else ():
        if rows[first] == rows[second]:
            result[first, second] = own[first, second]
    return result
