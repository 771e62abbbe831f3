"""Which of a start's classes a data set has, by name; and the start's score layers with the rows of these classes."""

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
    """For each class, the start's scores that count for it, and `NEW` if it gets a new one.

    A class that the start knows by name has the scores of that class. Each other class of the data is new (`own_scores`). If
    the start knows the background, the start's other classes are given away, so that the untrained network answers as the start
    does. Each goes to the class on whose pixels the start names it most often, if that class is new; else to the background. A
    new class gets a new score, unless the start names more than half of its pixels by the classes that it was given.

    rows: for each class, the start's class, or `NEW`. class_scores: for each class of the start, the number of its scores.
    answers: the pixels of each class (rows) of which the start says each of its classes (columns); 0 where it was not asked.
    """
    background = known_background(rows, names)
    if background is None:
        return own_scores(rows, class_scores, len(rows))
    scores = _scores_of(class_scores)
    of_classes = [[] if row == NEW else [row] for row in rows]  # the start's classes that count for each class
    for row in sorted(set(range(len(scores))) - set(rows)):
        most = int(answers[:, row].argmax())
        is_of_new_class = rows[most] == NEW and answers[most, row] > 0
        of_classes[most if is_of_new_class else background].append(row)
    result = []
    for own, of_class, pixels in zip(rows, of_classes, answers, strict=True):
        needs_new = own == NEW and 2 * pixels[of_class].sum() <= pixels.sum()
        result.append((*(score for row in of_class for score in scores[row]), *([NEW] if needs_new else [])))
    return tuple(result)


def known_background(rows: Sequence[int], names: Sequence[str]) -> int | None:
    """The class that is background, if the start knows it."""
    index = background_id(names)
    return index if index < len(names) and rows[index] != NEW else None


def own_scores(rows: Sequence[int], class_scores: Sequence[int], classes: int) -> tuple[tuple[int, ...], ...]:
    """For each of so many classes, the scores of the start's class alone, and `NEW` for a new one.

    rows, class_scores: as of `scores_of_classes`. Raises `ValueError` for rows that do not fit.
    """
    if len(rows) != classes or not all(NEW <= row < len(class_scores) for row in rows):
        raise ValueError(_mismatch("start_rows", f"{classes} classes", len(class_scores), rows))
    scores = _scores_of(class_scores)
    return tuple((NEW,) if row == NEW else scores[row] for row in rows)


def score_lines(
    names: Sequence[str], scores: Sequence[Sequence[int]], start_names: Sequence[str], class_scores: Sequence[int]
) -> list[str]:
    """Which of the start's classes count for others of the data, in lines of text; the arguments as of `scores_of_classes`."""
    owners = [name for name, number in zip(start_names, class_scores, strict=True) for _ in range(number)]
    lines = []
    for name, own in zip(names, scores, strict=True):
        own_names = dict.fromkeys(owners[score] for score in own if score != NEW)
        if others := [other for other in own_names if name_key(other) != name_key(name)]:
            new = "; it also has a new score" if NEW in own else ""
            lines.append(f"what the start says is {first_names(others, MOST)} counts as {name}{new}")
    return lines


def match_lines(names: Sequence[str], start_names: Sequence[str], rows: Sequence[int]) -> list[str]:
    """What the start knows of the classes, and what is new to it, in lines of text."""
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
    """The network's score layers, with these rows of the start's; a layer that `state` lacks is left out.

    rows: for each class of the network, a row of the start, or `NEW`, which keeps the network's own values. Layers that
    map classes to classes, such as learned upsampling, keep their own values between a new class and another one. A layer
    whose other sides differ is left out. Raises `ValueError` for rows that do not fit the start.
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
            name, noun = ("start_scores", "scores") if net.architecture.class_scores else ("start_rows", "classes")
            raise ValueError(_mismatch(name, f"{net.architecture.num_scores} {noun}", start_classes, rows))
        if [s for i, s in enumerate(own.shape) if i not in axes] == [s for i, s in enumerate(start.shape) if i not in axes]:
            layers[name] = _with_rows(own, start, axes, rows)
    return layers


def class_axes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """The tensors of a network whose shapes depend on the number of classes, with the axes that do."""
    with torch.device("meta"):
        one, two = (build_network(replace(architecture, num_classes=number, class_scores=())).state_dict() for number in (1, 2))
    differences = {name: tuple(i for i, size in enumerate(one[name].shape) if size != two[name].shape[i]) for name in one}
    return {name: axes for name, axes in differences.items() if axes}


def _scores_of(class_scores: Sequence[int]) -> list[tuple[int, ...]]:
    """The scores of each class, by their numbers. class_scores: how many each class has."""
    return [tuple(range(end - number, end)) for number, end in zip(class_scores, accumulate(class_scores), strict=True)]


def _mismatch(name: str, what: str, start: int, rows: Sequence[int]) -> str:
    return f"{name} must name, for each of {what}, one of the start's {start}, or {NEW} for a new one; got {list(rows)}"


def _with_rows(own: Tensor, start: Tensor, axes: Sequence[int], rows: Sequence[int]) -> Tensor:
    """The network's tensor, with these rows of the start's along all of the axes."""
    places = [place for place, row in enumerate(rows) if row != NEW]
    ours, theirs = (
        np.ix_(*(indices if axis in axes else range(size) for axis, size in enumerate(own.shape)))
        for indices in (places, [rows[place] for place in places])
    )
    result = own.clone()
    result[ours] = start[theirs]
    for first, second in permutations(range(len(rows)), 2) if len(axes) == 2 else ():
        if rows[first] == rows[second]:  # else two classes with one row would add up
            result[first, second] = own[first, second]
    return result
