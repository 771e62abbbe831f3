"""Arguments of `fcn-train` on the generated shapes, and the matrix that `fcn-evaluate` must find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.weights_file import Weights
from training.data.class_mapping import parse_class_mapping
from training.data.label_files import read_labels
from training.data.network_classes import network_classes
from training.data.split import Split, get_split
from training.scoring.evaluate import frame_counts, predictions
from training.scoring.metrics import ConfusionMatrix


def on_shapes(shapes: Path, recipe: Path, out: Path, *extra: str) -> list[str]:
    names = ["--data", shapes, "--labels", shapes / "classes.json", "--recipe", recipe, "--out", out, "--threads", "1"]
    return [*map(str, names), "--device", "cpu", *extra]


def evaluate(segmenter: Segmenter, split: Split, options: Options) -> ConfusionMatrix:
    """The matrix of all frames, along the served path."""
    classes = network_classes(segmenter.manifest.labels.names, split)
    return ConfusionMatrix(frame_counts(predictions(segmenter, split, options), split, classes).sum(0))


def split_of_shapes(shapes: Path, mapping: str | None = None, split: str = "val") -> Split:
    """A split of the generated shapes, whose classes a mapping may change."""
    labels = read_labels(str(shapes / "classes.json"))
    return get_split(shapes, split, labels, parse_class_mapping(mapping, labels) if mapping else None)


def score_matrix(
    weights: Weights, shapes: Path, mapping: str | None = None, split: str = "val", **options: Any
) -> ConfusionMatrix:
    """The matrix that the command must find."""
    segmenter = Segmenter(TorchRuntime(weights, "cpu", "float32"))
    return evaluate(segmenter, split_of_shapes(shapes, mapping, split), Options((64, 64), **options))
