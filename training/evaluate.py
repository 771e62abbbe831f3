"""Scores of the served path: the corridor that the service walks, over a labelled split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from tqdm import tqdm

from model.metrics import ConfusionMatrix
from model.predictor import Predictor
from model.segmentation import ClassMap, Options, segment_image
from training.class_mapping import ClassMapping
from training.datasets import Split
from training.layouts import DataError
from training.machine import machine


def evaluate(
    predictor: Predictor, split: Split, options: Options, mapping: ClassMapping | None = None, *, quiet: bool = False
) -> ConfusionMatrix:
    """The confusion matrix of the predictor's class maps against the split's masks.

    The mapping, over the predictor's ids, is applied to predictions; the split's own to labels. Raises `DataError`
    where labels and predictions have different numbers of classes.
    """
    manifest = predictor.manifest
    predicted = mapping.labels if mapping else manifest.labels
    if len(predicted) != len(split.labels):
        raise DataError(f"predictions have {len(predicted)} classes, labels {len(split.labels)}; map both to the same")
    matrix = ConfusionMatrix(len(predicted))
    for truth, class_map in predictions(predictor, split, options, quiet=quiet):
        matrix.update(truth, mapping(class_map) if mapping else class_map)
    return matrix


def predictions(
    predictor: Predictor, split: Split, options: Options, *, quiet: bool = False
) -> Iterator[tuple[ClassMap, ClassMap]]:
    """Each frame's mask, and the class map that the served path gives for its image."""
    for index in tqdm(range(len(split.frames)), desc=f"segmenting {split.name}", unit="image", disable=quiet):
        yield split.mask(index), segment_image(predictor, split.image(index), options).class_map


def conditions(predictor: Predictor, options: Options) -> str:
    """Under what a score was measured."""
    side = "-".join(map(str, predictor.manifest.preprocessing.side)) if options.side == "auto" else options.side
    tile = f"{options.tile[0]}x{options.tile[1]}"
    where = f"{predictor.device} {predictor.dtype_name}, torch {torch.__version__}, {machine()}"
    return f"side {options.side} ({side}), tile {tile}, overlap {options.overlap}, blend {options.blend}; {where}"


def table(matrix: ConfusionMatrix, names: Sequence[str]) -> str:
    """The scores as text: a row a class, then the means."""
    width = max(len(name) for name in [*names, "frequency-weighted IoU"])
    rows = [f"{'class':<{width}}  {'IoU':>6}  {'accuracy':>8}  {'pixels':>11}"]
    per_class = zip(names, matrix.iou, matrix.class_accuracy, matrix.counts.sum(1), strict=True)
    rows += [f"{name:<{width}}  {iou:6.3f}  {accuracy:8.3f}  {pixels:11d}" for name, iou, accuracy, pixels in per_class]
    means = {
        "mean IoU": matrix.mean_iou,
        "pixel accuracy": matrix.pixel_accuracy,
        "mean accuracy": matrix.mean_accuracy,
        "frequency-weighted IoU": matrix.frequency_weighted_iou,
    }
    return "\n".join(rows + [f"{name:<{width}}  {value:6.3f}" for name, value in means.items()])
