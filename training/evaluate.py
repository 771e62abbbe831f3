"""Scores of the served path: what the service answers, over a labelled split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.inference.runtime import Runtime
from model.inference.segmenter import Options, Segmentation, Segmenter
from model.inference.torch_runtime import TorchRuntime
from model.manifest import Manifest
from model.metrics import ConfusionMatrix
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import Weights
from training.class_mapping import ClassMapping
from training.datasets import Split
from training.layouts import DataError
from training.machine import machine

ClassMap = npt.NDArray[np.uint8]


def evaluate(
    segmenter: Segmenter, split: Split, options: Options, mapping: ClassMapping | None = None, *, quiet: bool = False
) -> ConfusionMatrix:
    """The confusion matrix of the segmenter's class maps against the split's masks.

    The mapping, over the segmenter's ids, is applied to predictions; the split's own to labels. Raises `DataError`
    where labels and predictions have different numbers of classes.
    """
    predicted = mapping.labels if mapping else segmenter.manifest.labels
    if len(predicted) != len(split.labels):
        raise DataError(f"predictions have {len(predicted)} classes, labels {len(split.labels)}; map both to the same")
    matrix = ConfusionMatrix(len(predicted))
    for truth, class_map in predictions(segmenter, split, options, quiet=quiet):
        matrix.update(truth, mapping(class_map) if mapping else class_map)
    return matrix


def predictions(
    segmenter: Segmenter, split: Split, options: Options, *, quiet: bool = False
) -> Iterator[tuple[ClassMap, ClassMap]]:
    """Each frame's mask, and the class map that the served path gives for its image file."""
    for index in tqdm(range(len(split.frames)), desc=f"segmenting {split.name}", unit="image", disable=quiet):
        yield split.mask(index), segmentation(segmenter, split.file(index), options).class_map


def segmentation(segmenter: Segmenter, data: bytes, options: Options) -> Segmentation:
    """What the network says of an image file, before it is encoded."""
    plan = segmenter.plan(data, options)
    return segmenter.infer(segmenter.decode(data, plan), plan)


def snapshot_segmenter(net: FCN, manifest: Manifest, device: str) -> Segmenter:
    """The segmenter of a network in training, its tensors rounded to float16 as the weights file rounds them."""
    return Segmenter(TorchRuntime(Weights("in training", "", manifest, half_tensors(net)), device))


def conditions(segmenter: Segmenter, options: Options) -> str:
    """Under what a score was measured."""
    side = "-".join(map(str, segmenter.manifest.preprocessing.side)) if options.side == "auto" else options.side
    tile = f"{options.tile[0]}x{options.tile[1]}"
    where = f"{_runtime(segmenter.runtime)}, {machine()}"
    return f"side {options.side} ({side}), tile {tile}, overlap {options.overlap}, blend {options.blend}; {where}"


def _runtime(runtime: Runtime) -> str:
    facts = runtime.describe()
    return f"{facts['device']} {facts['precision']}, {facts['runtime']} {facts['version']}"


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
