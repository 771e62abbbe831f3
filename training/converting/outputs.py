"""What a network's output holds, where its cells lie, and the logits that it means: by running it on a few images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from model.architecture import Grid
from model.imported_network import OutputKind
from training.converting.graph import ConversionError
from training.converting.samples import SEED, Array, Original, OutputLayout, Sample, is_auxiliary, misfit, noise, shapes
from training.converting.value_bounds import Interval, ValueBounds, find_bounds

SUM_TOLERANCE = 1e-3  # of probabilities, whose sum is 1
OVERSHOOT = 0.25  # of shares beyond their bounds, as bicubic resizes make them
MOSTS = (1, 100, 255)  # of shares whose bounds the graph does not say
LEAST_PROBABILITY = 1e-6
"""Probabilities are at least this, and those of a sigmoid at most 1 minus this, so that their logarithms are finite."""
ID_LOGIT = 8.0
"""The logit of a pixel's class where a network gives ids; that of the others is 0. Overlapping tiles vote."""


@dataclass(frozen=True)
class NetworkOutput:
    """An output that is a map of classes.

    layout: its axes; `NHW` has no axis of classes. channels: 1 without such an axis. stride: pixels of a cell. grid: where in
    those pixels the cell lies. multiple: sides of images that the network takes are its multiples; 1 for fixed sides. scale:
    the values of the shares, or of the ids, 0 and 1.
    """

    name: str
    kind: OutputKind
    layout: OutputLayout
    channels: int
    stride: int
    grid: Grid
    multiple: int
    scale: Interval = (0, 1)

    @property
    def classes(self) -> int | None:
        """The number of classes; None for ids, which do not say it."""
        if self.kind == "class_ids":
            return None
        return 2 if self.kind.startswith("binary") else self.channels

    def describe(self) -> str:
        where = "" if self.stride == 1 else {"corner": ", on the first", "half_pixel": ", in their middle"}[self.grid]
        kind, channels = self.kind.replace("_", " "), f"{self.channels} channel{'s' * (self.channels > 1)}"
        scale_text = "" if self.scale == (0, 1) else f" from {self.scale[0]:g} to {self.scale[1]:g}"
        return (
            f"{self.name}: {self.layout}, {kind}{scale_text}, {channels}, a cell for {self.stride}x{self.stride} pixels{where}"
        )

    def unscaled(self, values: Array) -> Array:
        """Values of this output, as shares from 0 to 1 or as ids."""
        return values if self.scale == (0, 1) else (values.astype(np.float32) - self.scale[0]) / (self.scale[1] - self.scale[0])


def probe(original: Original, first: Sample, *, name: str | None, kind: OutputKind | None, grid: Grid) -> NetworkOutput:
    """The output to serve, by running the network on pictures of noise.

    first: what it gives for the first one. name, kind: what the user says; None to find it out. grid: of cells of several
    pixels.

    Raises `ConversionError`, which says what is open and how to answer.
    """
    runs = [first.values, *(original(noise(first.size, SEED + index)) for index in (1, 2))]
    output = _choose(first, name)
    layout, stride = first.maps[output]
    arrays = [values[output] for values in runs]
    channels = first.channels(output)
    if not all(np.isfinite(array).all() for array in arrays):
        raise ConversionError(f"the output {output} holds values that are not finite, on pictures of noise")
    result = NetworkOutput(output, kind or "masks", layout, channels, stride, grid, first.multiple)
    if kind == "masks":
        return result
    bounds, is_floating = find_bounds(original, first, output), np.issubdtype(arrays[0].dtype, np.floating)
    values = np.stack([channels_first(array, layout).astype(np.float32) for array in arrays])
    if kind and (problem := _problem(kind, values, bounds)):
        raise ConversionError(f"the output {output} holds {problem}: give another --kind, or leave it out")
    kind = kind or (_kind_of_one if channels == 1 else _kind_of_several)(output, values, bounds, is_floating)
    return replace(result, kind=kind, scale=_scale(kind, values, bounds))


def _choose(first: Sample, name: str | None) -> str:
    values, candidates, size = first.values, first.maps, first.size
    if name is not None:
        if name not in values:
            raise ConversionError(f"there is no output {name!r}; the outputs are {', '.join(values)}")
        if name not in candidates:
            problem = f"the output {name} is no map of {size[1]}x{size[0]} pixels: {shapes({name: values[name]})}"
            raise ConversionError(misfit(name, values[name], size) or problem)
        return name
    if not candidates:
        raise ConversionError(
            f"no output is a map of {size[1]}x{size[0]} pixels: {shapes(values)}; is this semantic segmentation?"
        )
    likely = [output for output in candidates if not is_auxiliary(output)] or list(candidates)
    if len(likely) > 1:
        raise ConversionError(f"several outputs are maps: {shapes(values)}; say which: --output {first.finest(likely)}")
    return likely[0]


def _kind_of_one(output: str, values: Array, bounds: ValueBounds, is_floating: bool) -> OutputKind:
    """What one channel (pictures, 1, rows, columns) holds, by what made it. Raises `ConversionError` where that is open."""
    are_shares = bounds.are_bounded and not bounds.are_ids
    is_rounded = (bounds.is_rounded or not is_floating) and not bounds.are_logits
    steps = (0, bounds.high) if are_shares else _scale("class_ids", values, bounds)
    if (bounds.are_ids or is_rounded) and _is_whole(values, steps):
        return "class_ids"
    if are_shares:
        return "binary_probabilities"
    if is_floating and bounds.are_logits and values.min() < 0:
        return "binary_logits"
    most, middle = float(values.max()), sum(_scale("binary_probabilities", values, bounds)) / 2
    answers = [f"binary_probabilities (above {middle:.3g})", *["binary_logits (above 0)"] * (most > 0), "class_ids"]
    answers = [each for each in answers if not (bounds.are_ids or _problem(each.split()[0], values, bounds))]
    raise ConversionError(
        f"the output {output} holds one channel of values {_ends(values)}, made by {bounds.operators}: "
        + (f"say what they are: --kind {' or '.join(answers)}" if answers else "export the scores that they are made of")
    )


def _kind_of_several(output: str, values: Array, bounds: ValueBounds, is_floating: bool) -> OutputKind:
    """What (pictures, channels, rows, columns) hold, by what made them. Raises `ConversionError` for independent sigmoids."""
    if not is_floating:
        raise ConversionError(f"the output {output} holds whole numbers in {values.shape[1]} channels: export floating point")
    if bounds.are_logits:
        return "logits"
    if _are_shares(values, _scale("probabilities", values, bounds)):
        return "probabilities"
    if not bounds.are_bounded and not _is_within(values, (0, 1), SUM_TOLERANCE):
        return "logits"
    raise ConversionError(
        f"the output {output} holds values {_ends(values)}, made by {bounds.operators}, "
        f"whose sum over the {values.shape[1]} classes is no constant: independent sigmoids, where a pixel may have several "
        "classes, are not served; if they are scores of one class for each pixel: --kind logits"
    )


def _problem(kind: str, values: Array, bounds: ValueBounds) -> str:
    """Why the values cannot be of this kind; empty if they can."""
    channels = values.shape[1]
    if channels != 1 and kind in ("binary_logits", "binary_probabilities", "class_ids"):
        return f"{channels} channels, and {kind} has one"
    if channels == 1 and kind in ("logits", "probabilities"):
        return f"one channel, and {kind} has one for each class"
    if "probabilities" in kind and not _is_within(values, _scale(kind, values, bounds), OVERSHOOT):
        return f"values {_ends(values)}, and {kind} are from 0 to 1, or to 100 or 255"
    if kind == "class_ids" and not _is_whole(values, _scale(kind, values, bounds)):
        return "values that are no whole numbers, and class ids are"
    return ""


def _scale(kind: str, values: Array, bounds: ValueBounds) -> Interval:
    """The values of the shares, or of the ids, 0 and 1: as the graph says them; else by the values on pictures of noise."""
    if kind == "class_ids":
        steps = (0, bounds.high)
        return steps if bounds.are_bounded and bounds.low == 0 and _is_whole(values, steps) else (0, 1)
    if "probabilities" not in kind:
        return 0, 1
    if bounds.are_bounded:
        return bounds.low, bounds.high
    if kind == "probabilities":
        total = float(np.mean([each.sum(0).mean() for each in values]))
        return (0, total) if total > 0 and _are_shares(values, (0, total)) else (0, 1)
    most = float(values.max())
    return 0, next((each for each in MOSTS if each / 3 < max(most, 1) <= each * (1 + OVERSHOOT)), max(most, 1))


def _are_shares(values: Array, scale: Interval) -> bool:
    """Whether the channels' shares have the sum 1 at each pixel."""
    low, high = scale
    errors = ((values - low) / (high - low)).sum(1) - 1
    return _is_within(values, scale, OVERSHOOT) and bool(np.abs(errors).max() <= SUM_TOLERANCE)


def _is_whole(values: Array, scale: Interval) -> bool:
    return bool((values / scale[1] == np.round(values / scale[1])).all())


def _is_within(values: Array, scale: Interval, tolerance: float) -> bool:
    """Whether all values lie on a scale, or beyond it by at most this share of it."""
    (low, high), least, most = scale, float(values.min()), float(values.max())
    return least >= low - tolerance * (high - low) and most <= high + tolerance * (high - low)


def _ends(values: Array) -> str:
    return f"from {values.min():.3g} to {values.max():.3g}"


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
