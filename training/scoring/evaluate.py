"""Scores the class maps that the service would answer against a labelled split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from tqdm import tqdm

from common.arrays import Ids
from imaging.classes import VOID
from imaging.errors import ImageError
from model.inference.plan import Options, Plan
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.manifest import Manifest
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import Weights
from training.data.network_classes import NetworkClasses
from training.data.problems import DataError, counted
from training.data.split import Split
from training.reporting.machine import machine
from training.scoring.boundaries import BoundaryIoU
from training.scoring.metrics import ConfusionMatrix, Counts, confusion, label_pixels


def frame_counts(
    maps: Iterable[tuple[Ids, Ids]], split: Split, classes: NetworkClasses, boundaries: BoundaryIoU | None = None
) -> Counts:
    """The confusion matrices (F, n, n) of a network's class maps against the split's masks, one for each frame.

    They are (F, n + 1, n) if a set of the split labels some classes alone: a class is scored on frames that label it.
    maps: each frame's mask (H, W) and class map (H, W), as `predictions` yields them. classes: as what the network's count; n
    is the number of their names, with `OTHER` if the split `is_partial`. boundaries: is updated with the class maps of frames
    that label all classes, if there is one.
    """
    names, counts = len(classes.names), []
    for (mask, class_map), frame in zip(maps, split.frames, strict=True):
        # the split's own id of void may be the one that `OTHER` gets
        truth, prediction = np.where(mask < len(split.labels), mask, VOID).astype(np.uint8), classes(class_map)
        if boundaries and frame.set.labelled is None:
            boundaries.update(truth, prediction)
        if split.is_partial:
            truth[mask == split.rest_id] = names
            is_labelled = split.labelled(frame.set)
            if not is_labelled.all():
                is_own = np.append(is_labelled, [False])[prediction]
                prediction = np.where(is_own, prediction, len(split.labels)).astype(np.uint8)
        counts.append(confusion(truth, prediction, names, names + split.is_partial))
    return np.stack(counts)


def predictions(segmenter: Segmenter, split: Split, options: Options) -> Iterator[tuple[Ids, Ids]]:
    """Yields each frame's mask (H, W) and the class map (H, W) that the served path gives for its image file.

    Raises as `served_frames`.
    """
    for _, mask, plan, pixels in served_frames(segmenter, split, options):
        yield mask, segmenter.infer(pixels, plan).class_map


def served_frames(
    segmenter: Segmenter, split: Split, options: Options, indices: Iterable[int] | None = None
) -> Iterator[tuple[int, Ids, Plan, Ids]]:
    """Reads these frames, or all, as the served path does; shows the progress.

    Yields a frame's index, its mask (H, W), the plan of its image file, and the pixels that the network gets. Raises
    `DataError`, naming the file, for an image that cannot be decoded and one of another size than its mask.
    """
    frames = range(len(split.frames)) if indices is None else indices
    for index in tqdm(frames, desc=f"segmenting {split.name}", unit="image", leave=False, disable=None):
        data, mask = split.file(index), split.mask(index)
        try:
            plan = segmenter.plan(data, options)
            pixels = segmenter.decode(data, plan)
        except ImageError as error:
            raise DataError(f"{split.frames[index].image}: {error}") from error
        split.require_one_size(index, mask, plan.size)
        yield index, mask, plan, pixels


def snapshot_segmenter(net: FCN, manifest: Manifest, device: str) -> Segmenter:
    """A segmenter for a network in training; its tensors are rounded to float16, as in a weights file."""
    weights = Weights("in training", "", manifest, half_tensors(net))
    return Segmenter(TorchRuntime(weights, device, threads=torch.get_num_threads()))  # the training's number of threads


def conditions(segmenter: Segmenter, options: Options) -> str:
    """The conditions of a score in one line: options, runtime and machine."""
    side = "-".join(map(str, segmenter.manifest.preprocessing.side)) if options.side == "auto" else options.side
    tile = "x".join(map(str, options.tile or segmenter.manifest.preprocessing.tile))
    tile = "whole" if segmenter.manifest.whole else tile
    facts = segmenter.runtime.describe()
    runtime = f"{facts['device']} {facts['precision']}, {facts['runtime']} {facts['version']}"
    platform = ", ".join(filter(None, (runtime, segmenter.runtime.identity.instructions, machine())))
    settings = f"side {options.side} ({side}), tile {tile}, overlap {options.overlap}, blend {options.blend}"
    return f"{settings}{', quality high' if options.quality == 'high' else ''}; {platform}"


def table(matrix: ConfusionMatrix, names: Sequence[str]) -> str:
    """The scores as text: a row for each class, then the means, and a line on the classes that the means leave out."""
    width = max(len(name) for name in [*names, "frequency-weighted IoU"])
    rows = [f"{'class':<{width}}  {'IoU':>6}  {'accuracy':>8}  {'pixels':>11}"]
    per_class = zip(names, matrix.iou, matrix.class_accuracy, label_pixels(matrix.counts), strict=True)
    rows += [f"{name:<{width}}  {iou:6.3f}  {accuracy:8.3f}  {pixels:11d}" for name, iou, accuracy, pixels in per_class]
    means = {
        "mean IoU": matrix.mean_iou,
        "pixel accuracy": matrix.pixel_accuracy,
        "mean accuracy": matrix.mean_accuracy,
        "frequency-weighted IoU": matrix.frequency_weighted_iou,
    }
    rows += [f"{name:<{width}}  {value:6.3f}" for name, value in means.items()]
    if pixels := counted({names[class_id]: number for class_id, number in matrix.predicted_only.items()}, " pixels"):
        rows.append(
            f"predicted, but shown by no label, so left out of the means: {pixels}; counted as 0, as other programs do, the "
            f"mean IoU is {matrix.mean_iou_with_predicted:.3f}"
        )
    return "\n".join(rows)
