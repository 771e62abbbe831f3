"""What a network's output holds, where its cells lie, and the logits that it means: by running it on a few images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from model.architecture import Grid
from model.imported_network import OutputKind
from training.converting.graph import ConversionError, origin
from training.converting.samples import SEED, Array, OutputLayout, Run, Sample, is_auxiliary, noise, shapes

SUM_TOLERANCE = 1e-3  # of probabilities, whose sum is 1
OF_SHARES = ("Sigmoid", "HardSigmoid", "Softmax", "Clip")
"""Operators whose results are shares from 0 to 1."""
OF_IDS = (
    "ArgMax", "TopK", "Round", "Floor", "Ceil", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Where", "Not",
)  # fmt: skip
"""Operators whose results may be class ids that are cast to floating point."""
LEAST_PROBABILITY = 1e-6
"""Probabilities are at least this, and those of a sigmoid at most 1 minus this, so that their logarithms are finite."""
ID_LOGIT = 8.0
"""The logit of a pixel's class where a network gives ids; that of the others is 0. Overlapping tiles vote."""


@dataclass(frozen=True)
class NetworkOutput:
    """An output that is a map of classes.

    layout: its axes; `NHW` has no axis of classes. channels: 1 without such an axis. stride: pixels of a cell. grid: where in
    those pixels the cell lies. multiple: sides of images that the network takes are its multiples; 1 for fixed sides.
    """

    name: str
    kind: OutputKind
    layout: OutputLayout
    channels: int
    stride: int
    grid: Grid
    multiple: int

    @property
    def classes(self) -> int | None:
        """The number of classes; None for ids, which do not say it."""
        if self.kind == "class_ids":
            return None
        return 2 if self.kind.startswith("binary") else self.channels

    def describe(self) -> str:
        where = "" if self.stride == 1 else {"corner": ", on the first", "half_pixel": ", in their middle"}[self.grid]
        kind, channels = self.kind.replace("_", " "), f"{self.channels} channel{'s' * (self.channels > 1)}"
        return f"{self.name}: {self.layout}, {kind}, {channels}, a cell for {self.stride}x{self.stride} pixels{where}"


def probe(
    run: Run, first: Sample, model: onnx.ModelProto, *, name: str | None, kind: OutputKind | None, grid: Grid
) -> NetworkOutput:
    """The output to serve, by running the network on pictures of noise.

    first: what it gives for the first one. model: its graph. name, kind: what the user says; None to find it out. grid: of
    cells of several pixels.

    Raises `ConversionError`, which says what is open and how to answer.
    """
    runs = [first.values, *(run(noise(first.size, SEED + index)) for index in (1, 2))]
    output = _choose(first, name)
    layout, stride = first.maps[output]
    arrays = [values[output] for values in runs]
    channels = first.channels(output)
    if not all(np.isfinite(array).all() for array in arrays):
        raise ConversionError(f"the output {output} holds values that are not finite, on pictures of noise")
    if kind:
        _check_kind(kind, output, arrays, channels)
    else:
        node = origin(model, output)
        kind = _kind(output, arrays, channels, layout, node.op_type if node else "nothing")
    return NetworkOutput(output, kind, layout, channels, stride, grid, first.multiple)


def _choose(first: Sample, name: str | None) -> str:
    values, candidates, size = first.values, first.maps, first.size
    if name is not None:
        if name not in values:
            raise ConversionError(f"there is no output {name!r}; the outputs are {', '.join(values)}")
        if name not in candidates:
            raise ConversionError(f"the output {name} is no map of {size[1]}x{size[0]} pixels: {shapes({name: values[name]})}")
        return name
    if not candidates:
        raise ConversionError(
            f"no output is a map of {size[1]}x{size[0]} pixels: {shapes(values)}; is this semantic segmentation?"
        )
    likely = [output for output in candidates if not is_auxiliary(output)] or list(candidates)
    if len(likely) > 1:
        raise ConversionError(f"several outputs are maps: {shapes(values)}; say which: --output {likely[0]}")
    return likely[0]


def _kind(output: str, arrays: Sequence[Array], channels: int, layout: OutputLayout, operator: str) -> OutputKind:
    """What the values are, by their type, range and sums, and by the operator that computes them.

    Raises `ConversionError` for independent sigmoids, and where the values may be several things.
    """
    is_floating = np.issubdtype(arrays[0].dtype, np.floating)
    if channels == 1 and _is_whole(arrays) and (not is_floating or operator in OF_IDS):
        return "class_ids"
    if not is_floating:
        raise ConversionError(f"the output {output} holds {arrays[0].dtype} in {channels} channels; scores are floating point")
    within = _is_share(arrays)
    if channels == 1 and not within:
        return "binary_logits"
    if channels == 1 and operator in OF_SHARES:
        return "binary_probabilities"
    if channels == 1:
        raise ConversionError(
            f"the output {output} holds one channel of values from {_least(arrays):.3g} to {_most(arrays):.3g}, computed by "
            f"{operator}: say what they are: --kind binary_logits, binary_probabilities or class_ids"
        )
    if not within:
        return "logits"
    axis = 1 if layout == "NCHW" else 3
    if all(np.abs(array.sum(axis) - 1).max() <= SUM_TOLERANCE for array in arrays):
        return "probabilities"
    raise ConversionError(
        f"the output {output} holds values from 0 to 1 whose sum over the {channels} classes is not 1: independent sigmoids, "
        "where a pixel may have several classes, are not served; if they are scores of one class for each pixel: --kind logits"
    )


def _check_kind(kind: OutputKind, output: str, arrays: Sequence[Array], channels: int) -> None:
    """Raises `ConversionError` if the values cannot be of this kind, which the user says."""
    problem = ""
    if channels != 1 and kind in ("binary_logits", "binary_probabilities", "class_ids"):
        problem = f"{channels} channels, and {kind} has one"
    elif channels == 1 and kind in ("logits", "probabilities"):
        problem = f"one channel, and {kind} has one for each class"
    elif "probabilities" in kind and not _is_share(arrays):
        problem = f"values from {_least(arrays):.3g} to {_most(arrays):.3g}, and {kind} are from 0 to 1"
    elif kind == "class_ids" and not _is_whole(arrays):
        problem = "values that are no whole numbers, and class ids are"
    if problem:
        raise ConversionError(f"the output {output} holds {problem}: give another --kind, or leave it out")


def _is_whole(arrays: Sequence[Array]) -> bool:
    return all((array == np.round(array)).all() for array in arrays)


def _is_share(arrays: Sequence[Array]) -> bool:
    return _least(arrays) >= 0 and _most(arrays) <= 1 + SUM_TOLERANCE


def _least(arrays: Sequence[Array]) -> float:
    return min(float(array.min()) for array in arrays)


def _most(arrays: Sequence[Array]) -> float:
    return max(float(array.max()) for array in arrays)


def channels_first(values: Array, layout: OutputLayout) -> Array:
    """(channels, rows, columns) of an output."""
    first: Array = values if layout == "NHW" else values[0]
    return np.moveaxis(first, 2, 0) if layout == "NHWC" else first


def to_logits(values: Array, kind: OutputKind, classes: int) -> Array:
    """The logits (classes, rows, columns) of an output (channels, rows, columns), as the converted file computes them.

    Raises `ConversionError` for ids of no class.
    """
    logits: Array = values.astype(np.float32)
    if kind == "class_ids":
        if values.min() < 0 or values.max() >= classes or (values != np.round(values)).any():
            raise ConversionError(
                f"the network gives ids from {values.min():g} to {values.max():g}, and {classes} classes are named: name all, "
                "in the order of their ids"
            )
        logits = np.where(values[:1] == np.arange(classes)[:, None, None], np.float32(ID_LOGIT), np.float32(0))
    if kind == "masks":
        logits = np.log(logits)
    if kind == "probabilities":
        logits = np.log(np.clip(logits, LEAST_PROBABILITY, 1))
    if kind == "binary_probabilities":
        logits = np.clip(logits, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        logits = np.log(logits) - np.log(1 - logits)
    return np.concatenate([np.zeros_like(logits), logits]) if kind.startswith("binary") else logits
