"""What is known of a training's start before it is loaded: its side, its classes and its batch norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from common.arrays import Integers
from model.architecture import Architecture
from model.inference.plan import Options
from model.manifest import Manifest
from model.networks.builder import build_network
from model.networks.servable import load_network
from model.preprocessing import RGB
from model.weights_file import Weights
from training.data.files import evenly
from training.data.network_classes import NEW, match_rows
from training.data.split import Split
from training.learning.recipe import Recipe
from training.learning.start_scores import known_background, match_lines, own_scores, score_lines, scores_of_classes
from training.learning.starts import Start
from training.scoring.evaluate import predictions, snapshot_segmenter
from training.scoring.metrics import confusion

MOST_FRAMES = 100


@dataclass(frozen=True)
class StartDescription:
    """side: the range of the longer side, in pixels, that the start's weights advise. rows: for each class of the data, a row
    of the start's score layers, or `NEW`; empty if the start's classes have no names. scores: for each class, all of the
    start's scores that count for it; empty where `rows` says all. has_batch_norm: whether the network has batch norms, and
    the start holds the statistics of all of them. lines: what the start knows of the classes.
    """

    side: tuple[int, int]
    rows: tuple[int, ...] = ()
    scores: tuple[tuple[int, ...], ...] = ()
    has_batch_norm: bool = False
    lines: tuple[str, ...] = ()

    @property
    def known_share(self) -> float:
        """The share of the data's classes that begin with the start's scores alone."""
        flags = [NEW not in scores for scores in self.scores] or [row != NEW for row in self.rows]
        return sum(flags) / len(flags) if flags else 0.0


def describe_start(
    recipe: Recipe, start: Start, train: Split, device: str = "cpu", saved_values: Mapping[str, Any] = MappingProxyType({})
) -> StartDescription:
    """What is known of a start for a training on a split. Raises `ValueError` for one that does not fit.

    The start is asked on the split's frames what new classes look like to it, if it knows others. saved_values: the recipe of
    the checkpoint that the training resumes from; its scores stay, since another device may count a few pixels otherwise.
    """
    weights, labels, bands = start.weights, train.labels, len(train.bands)
    manifest = weights.manifest if weights else None
    rows, scores, lines = recipe.start_rows, recipe.start_scores, list[str]()
    if weights and manifest:
        class_scores = manifest.fcn.class_scores or (1,) * len(manifest.labels)
        is_matched = "start_rows" not in recipe.model_fields_set
        if is_matched:
            rows = match_rows(labels.names, manifest.labels.names)
            lines = match_lines(labels.names, manifest.labels.names, rows)
        if is_matched and "start_scores" not in recipe.model_fields_set and _has_one_architecture(recipe, manifest, bands):
            if saved_values.get("start_rows") == rows and "start_scores" in saved_values:
                scores = saved_values["start_scores"]
            else:
                scores = scores_of_classes(rows, labels.names, class_scores, _answers(weights, rows, train, device))
            lines += score_lines(labels.names, scores, manifest.labels.names, class_scores)
        elif not scores and manifest.fcn.class_scores:  # it has several scores for a class, so its rows are not the classes
            number = len(labels)
            rows = rows or (tuple(range(number)) if number == len(class_scores) else (NEW,) * number)
            scores = own_scores(rows, class_scores, number)
            if recipe.decoder != "aligned" and max(map(len, scores)) > 1:
                raise ValueError(
                    f"{start.name} has several scores for a class, and the decoder {recipe.decoder} takes one; give the "
                    "decoder aligned, or -1 in start_rows for new scores"
                )
    side, has_batch_norm = start.preprocessing(recipe.backbone).side, _has_batch_norm(recipe, start, bands)
    return StartDescription(side, rows, scores, has_batch_norm, tuple(lines))


def with_rows(recipe: Recipe, start: StartDescription) -> Recipe:
    """The recipe with the start's rows, if it does not state them."""
    return recipe.model_copy(update={"start_rows": start.rows, "start_scores": start.scores}) if start.rows else recipe


def _has_batch_norm(recipe: Recipe, start: Start, bands: int) -> bool:
    with torch.device("meta"):
        statistics = [name for name in build_network(_architecture(recipe)).state_dict() if name.endswith("running_mean")]
    has_all = start.weights is not None and _has_one_architecture(recipe, start.weights.manifest, bands)
    return start.name != "none" and bool(statistics) and (has_all or all(name.startswith("backbone.") for name in statistics))


def _answers(weights: Weights, rows: Sequence[int], train: Split, device: str) -> Integers:
    """What the start says of each class, as `scores_of_classes` takes it; zeros if nothing depends on it."""
    manifest = weights.manifest
    is_asked = NEW in rows and known_background(rows, train.labels.names) is not None
    if is_asked and len(train.bands) == manifest.preprocessing.channels:
        return count_answers(weights, train, device)
    return np.zeros((len(rows), len(manifest.labels)), np.int64)


def _has_one_architecture(recipe: Recipe, manifest: Manifest, bands: int) -> bool:
    """Whether the recipe's network, of images with so many bands, begins with all of the start but for its classes."""
    start = replace(manifest.fcn, num_classes=1, class_scores=())
    return start.bands in (len(RGB), bands) and replace(start, bands=len(RGB)) == _architecture(recipe)


def _architecture(recipe: Recipe) -> Architecture:
    """The recipe's, of a single class."""
    return recipe.model_copy(update={"start_scores": ()}).architecture(1)


def count_answers(weights: Weights, train: Split, device: str) -> Integers:
    """The number of pixels of each class of the data (rows) of which the start says each of its classes (columns).

    They are counted on at most `MOST_FRAMES` frames, evenly over the split.
    """
    split = replace(train, frames=tuple(train.frames[index] for index in evenly(len(train.frames), MOST_FRAMES)))
    segmenter = snapshot_segmenter(load_network(weights), weights.manifest, device)
    counts = np.zeros((len(train.labels), len(weights.manifest.labels)), np.int64)
    for truth, class_map in predictions(segmenter, split, Options()):
        counts += confusion(truth, class_map, counts.shape[1], counts.shape[0])
    return counts
