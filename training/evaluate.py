"""Scores of the served path: the corridor that the service walks, over a labelled split."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

from imaging.decoding import Limits, decode
from model.metrics import ConfusionMatrix
from model.predictor import Predictor
from model.segmentation import Options, plan_image, run_in_batches, segment
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
    run = run_in_batches(predictor)
    for index, frame in enumerate(tqdm(split.frames, desc=f"evaluating {split.name}", unit="image", disable=quiet)):
        image = decode(frame.image.read_bytes(), Limits())
        plan = plan_image((image.shape[0], image.shape[1]), options, manifest.preprocessing.side)
        class_map = segment(image, plan, run, num_classes=len(manifest.labels)).class_map
        matrix.update(split.mask(index), mapping(class_map) if mapping else class_map)
    return matrix


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
