"""What a network's output holds, where its cells lie, and the logits that it means: by running it on a few images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.architecture import Grid
from model.imported_network import OutputKind
from training.converting.graph import ConversionError, RunError

Array = npt.NDArray[Any]
OutputLayout = Literal["NCHW", "NHWC", "NHW"]
Tile = npt.NDArray[np.uint8]
Run = Callable[[Tile], Mapping[str, Array]]
"""Runs the network on RGB pixels (height, width, 3), and gives all outputs by name. Raises `ConversionError`."""
MULTIPLES = (32, 64, 128)  # of sides that a network without fixed sides may want
AXES: dict[int, tuple[tuple[OutputLayout, int, int], ...]] = {3: (("NHW", 1, 2),), 4: (("NCHW", 2, 3), ("NHWC", 1, 2))}
"""Layouts of a map, with the axes of its rows and columns, by its number of axes."""
STRIDES = (1, 2, 4, 8, 16, 32)
SUM_TOLERANCE = 1e-3  # of probabilities, whose sum is 1
OF_SHARES = ("Sigmoid", "HardSigmoid", "Softmax", "Clip")
"""Operators whose results are shares from 0 to 1."""
OF_IDS = (
    "ArgMax", "TopK", "Round", "Floor", "Ceil", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Where", "Not",
)  # fmt: skip
"""Operators whose results may be class ids that are cast to floating point."""
AUXILIARY = ("aux", "auxiliary")  # in names of outputs that exist for training alone
NOISE_STEPS = 8  # of the probes' pictures: colours of a cell of so many pixels
SEED = 0
LEAST_PROBABILITY = 1e-6
"""Probabilities are at least this, and those of a sigmoid at most 1 minus this, so that their logarithms are finite."""
ID_LOGIT = 8.0
"""The logit of a pixel's class where a network gives ids; that of the others is 0. Overlapping tiles vote."""
MOST_SHOWN = 6  # outputs in a message


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
        of = {"class_ids": "class ids"}.get(self.kind, self.kind.replace("_", " "))
        where = "" if self.stride == 1 else {"corner": ", on the first", "half_pixel": ", in their middle"}[self.grid]
        cell = f"a cell for {self.stride}x{self.stride} pixels{where}"
        return f"{self.name}: {self.layout}, {of}, {self.channels} channel{'s' * (self.channels > 1)}, {cell}"


def probe(
    run: Run,
    sides: tuple[int | None, int | None],
    *,
    name: str | None,
    kind: OutputKind | None,
    grid: Grid,
    origin: Callable[[str], str],
) -> NetworkOutput:
    """The output to serve, by running the network on pictures of noise.

    sides: the network's fixed (height, width), None for one that may vary. name, kind: what the user says; None to find it
    out. grid: of cells of several pixels. origin: gives the operator that computes what an output holds.

    Raises `ConversionError`, which says what is open and how to answer.
    """
    multiple, size = _working_size(run, sides)
    pictures = [noise(size, SEED + index) for index in range(3)]
    runs = [run(picture) for picture in pictures]
    places = {output: _place(values, size) for output, values in runs[0].items()}
    candidates = {output: place for output, place in places.items() if place}
    output = _choose(runs[0], candidates, name, size)
    layout, stride = candidates[output]
    arrays = [values[output] for values in runs]
    channels = 1 if layout == "NHW" else arrays[0].shape[1 if layout == "NCHW" else 3]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ConversionError(f"the output {output} holds values that are not finite, on pictures of noise")
    if kind:
        _check_kind(kind, output, arrays, channels)
    else:
        kind = _kind(output, arrays, channels, layout, origin(output))
    return NetworkOutput(output, kind, layout, channels, stride, grid, multiple)


def _working_size(run: Run, sides: tuple[int | None, int | None]) -> tuple[int, tuple[int, int]]:
    """The multiple of sides that the network takes, and a (height, width) that it takes and whose sides differ."""
    if sides[0] and sides[1]:
        return 1, (sides[0], sides[1])
    problems = []
    error_class: type[ConversionError] = ConversionError
    for multiple in MULTIPLES:
        size = sides[0] or 3 * multiple, sides[1] or 5 * multiple
        try:
            values = run(noise(size, SEED))
        except ConversionError as error:
            problems.append(str(error))
            if isinstance(error, RunError):
                error_class = RunError
            continue
        if any(_place(array, size) for array in values.values()):
            return multiple, size
        problems.append(f"no output is a map of {size[1]}x{size[0]} pixels: {_shapes(values)}")
    raise error_class(
        f"{problems[0]} (and so for multiples of {' and '.join(map(str, MULTIPLES[1:]))}); if the network takes one size "
        "alone, export it without dynamic axes"
    )


def _place(values: Array, size: tuple[int, int]) -> tuple[OutputLayout, int] | None:
    """The layout and the stride of a map for an image of this size; None if the values are no map."""
    if values.ndim not in AXES or values.shape[0] != 1:
        return None
    for layout, rows, columns in AXES[values.ndim]:
        for stride in STRIDES:
            if (values.shape[rows] * stride, values.shape[columns] * stride) == size:
                return layout, stride
    return None


def _choose(values: Mapping[str, Array], candidates: Mapping[str, object], name: str | None, size: tuple[int, int]) -> str:
    if name is not None:
        if name not in values:
            raise ConversionError(f"there is no output {name!r}; the outputs are {', '.join(values)}")
        if name not in candidates:
            raise ConversionError(f"the output {name} is no map of {size[1]}x{size[0]} pixels: {_shapes({name: values[name]})}")
        return name
    if not candidates:
        raise ConversionError(
            f"no output is a map of {size[1]}x{size[0]} pixels: {_shapes(values)}; is this semantic segmentation?"
        )
    likely = [output for output in candidates if not any(word in output.lower() for word in AUXILIARY)] or list(candidates)
    if len(likely) > 1:
        raise ConversionError(f"several outputs are maps: {_shapes(values)}; say which: --output {likely[0]}")
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


def noise(size: tuple[int, int], seed: int) -> Tile:
    """A picture (height, width, 3) of coloured squares of `NOISE_STEPS` pixels."""
    rows, columns = (-(-side // NOISE_STEPS) for side in size)
    small = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(NOISE_STEPS, 0).repeat(NOISE_STEPS, 1)[: size[0], : size[1]])


def _shapes(values: Mapping[str, Array]) -> str:
    return ", ".join(
        f"{name} {'x'.join(map(str, array.shape))} {array.dtype}" for name, array in list(values.items())[:MOST_SHOWN]
    )


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
    if kind == "probabilities":
        logits = np.log(np.clip(logits, LEAST_PROBABILITY, 1))
    if kind == "binary_probabilities":
        logits = np.clip(logits, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        logits = np.log(logits) - np.log(1 - logits)
    return np.concatenate([np.zeros_like(logits), logits]) if kind.startswith("binary") else logits
