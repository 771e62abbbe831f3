"""The part of `fcn-check` that needs PyTorch: crops of a training, and labels that a network disagrees with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imaging.classes import VOID
from model.inference.loading import load_runtime
from model.inference.segmenter import Segmenter
from model.weights_file import find_files
from training.commands.check_report import Picture, overlay
from training.data.network_classes import OTHER, network_classes
from training.data.problems import DataError
from training.learning.augmentation import AugmentedSplit
from training.learning.recipe import Recipe
from training.scoring.disagreement import Disagreement, disagreements
from training.survey.records import Survey

CROPS = 24  # pictures


@dataclass(frozen=True)
class Networks:
    """The weights that judge labels: names or paths, and for those of folds, the file's index for the sha256 of each image.

    Without folds there is one name, and `of_image` is empty.
    """

    names: tuple[str, ...]
    of_image: Mapping[str, int] = field(default_factory=dict)

    def segmenter(self, number: int) -> Segmenter:
        """Loads the network of a fold, or the single one."""
        return Segmenter(load_runtime(find_files(self.names[number])))


def find_networks(name: str) -> Networks:
    """The networks of a weights file, of a name in weights/, or of the JSON file of `fcn-train --folds`.

    Raises `ValueError`, naming the file, for a JSON file of another kind, and for weights that are missing.
    """
    path = Path(name)
    networks = _read_folds(path) if path.suffix == ".json" else Networks((name,))
    for weights in networks.names:
        find_files(weights)
    return networks


def label_lines(networks: Networks, surveys: Sequence[Survey], most: int) -> list[str]:
    """Lines on the frames with the most disagreement, worst first, below a line on the networks; runs them on every frame.

    Raises `DataError` if a network lacks a class of the labels.
    """
    results: list[tuple[Disagreement, Survey]] = []
    seen_lines = ["  each frame is judged by the network of a fold that has not seen it"] if networks.of_image else []
    frames, folds = 0, networks.of_image
    for number in range(len(networks.names)):
        segmenter = networks.segmenter(number)
        for survey in surveys:
            classes = network_classes(segmenter.manifest.labels.names, survey.split)
            indices = [at for at, record in enumerate(survey.records) if not folds or folds.get(record.image_sha256) == number]
            frames += len(indices)
            results += [(item, survey) for item in disagreements(segmenter, survey.split, indices, classes)]
            if not folds:
                seen_lines.append(_seen_line(segmenter, survey))
    results.sort(key=lambda result: -result[0].weight)
    worst = results[:most]
    lines = [
        f"labels that the network disagrees with most, {len(worst)} of {frames} frames; look at each: label or network is wrong"
    ]
    lines += [_line(rank, item, survey) for rank, (item, survey) in enumerate(worst, 1)]
    lines += [*filter(None, [classes.line and f"  {classes.line}"]), *seen_lines]
    if left_out := sum(len(survey.records) for survey in surveys) - frames:
        lines.append(f"  {left_out} frames are not in the file of folds, so no network judges them: train again with --folds")
    return lines


def _seen_line(segmenter: Segmenter, survey: Survey) -> str:
    """Whether the network was trained on the frames of this split, as far as its file says."""
    train, *others = [split.get("sha256") for split in segmenter.manifest.training.get("splits", {}).values()] or [None]
    name = survey.split.name
    if survey.split.digest in others and survey.split.digest != train:
        return f"  the network was not trained on the frames of {name!r}"
    tense = "was" if survey.split.digest == train else "may have been"
    return (
        f"  the network {tense} trained on the frames of {name!r}, and has learnt some of their mistakes then; "
        "fcn-train --folds 5 writes NAME-folds.json, whose networks have not"
    )


def _line(rank: int, item: Disagreement, survey: Survey) -> str:
    names, (left, top, right, bottom) = [*survey.split.labels.names, OTHER], item.box
    return (
        f"  {rank}. {survey.split.frames[item.index].mask}: labelled {names[item.label]}, predicted {names[item.prediction]} "
        f"(confidence {item.confidence:.2f}) on {item.share:.1%} of the frame, x {left} to {right}, y {top} to {bottom}; "
        f"{item.differing:.1%} of all labelled pixels differ"
    )


def _read_folds(path: Path) -> Networks:
    """The networks of a file that `write_fold_files` wrote; raises `ValueError` naming the file, and what it lacks."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(str(path.parent / fold["weights"]) for fold in document["folds"])
        of_image = {str(frame["image_sha256"]): int(frame["fold"]) - 1 for frame in document["frames"]}
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} is no file of fcn-train --folds, which holds folds and frames: {error}") from error
    if not of_image or not set(of_image.values()) <= set(range(len(names))):
        raise DataError(f"{path} must name for each frame one of its {len(names)} folds; train again with --folds")
    return Networks(names, of_image)


def crop_pictures(train: Survey, recipe: Recipe) -> Iterator[Picture]:
    """The first crops of the first epoch of frames that are spread over the split, each beside its labels."""
    data = AugmentedSplit(train, recipe, cache_bytes=0)
    for index in sorted({int(index) for index in np.linspace(0, len(data) - 1, CROPS)}):
        image, mask = data[0, index]
        pixels = image[:3].permute(1, 2, 0).numpy()
        yield np.hstack([pixels, overlay(pixels, mask.clamp(max=VOID).numpy().astype(np.uint8), train.split.labels)]), ""
