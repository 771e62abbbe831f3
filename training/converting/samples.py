"""What a network gives for pictures of noise, and which of its outputs are maps of the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from training.converting.graph import ConversionError

Array = npt.NDArray[Any]
OutputLayout = Literal["NCHW", "NHWC", "NHW"]
Tile = npt.NDArray[np.uint8]
Run = Callable[[Tile], Mapping[str, Array]]
"""Runs the network on RGB pixels (height, width, 3), and gives all outputs by name. Raises `ConversionError`."""
MULTIPLES = (32, 64, 128)  # of sides that a network without fixed sides may want
AXES: dict[int, tuple[tuple[OutputLayout, int, int], ...]] = {3: (("NHW", 1, 2),), 4: (("NCHW", 2, 3), ("NHWC", 1, 2))}
"""Layouts of a map, with the axes of its rows and columns, by its number of axes."""
STRIDES = (1, 2, 4, 8, 16, 32)
NOISE_STEPS = 8  # of the probes' pictures: colours of a cell of so many pixels
SEED = 0
AUXILIARY = ("aux", "auxiliary")  # in names of outputs that exist for training alone
MOST_SHOWN = 6  # outputs in a message


@dataclass(frozen=True)
class Sample:
    """What a network gives for a picture of noise.

    size: (height, width) of the picture. multiple: of sides that the network takes; 1 for fixed sides. values: the outputs, by
    name. maps: the layout and the stride of each output that is a map of the picture.
    """

    size: tuple[int, int]
    multiple: int
    values: Mapping[str, Array]
    maps: Mapping[str, tuple[OutputLayout, int]]

    def channels(self, name: str) -> int:
        """The channels of a map; 1 without an axis of them."""
        layout = self.maps[name][0]
        return 1 if layout == "NHW" else int(self.values[name].shape[1 if layout == "NCHW" else 3])


def sample(run: Run, sides: tuple[int | None, int | None]) -> Sample:
    """What the network gives for a picture whose sides differ. sides: its fixed (height, width), None for one that may vary.

    Raises `ConversionError` for a network that takes none of the sizes that are tried.
    """
    problems: list[ConversionError] = []
    is_fixed = None not in sides
    for multiple in (1,) if is_fixed else MULTIPLES:
        size = sides[0] or 3 * multiple, sides[1] or 5 * multiple
        try:
            values = run(noise(size, SEED))
        except ConversionError as error:
            if is_fixed:
                raise
            problems.append(error)
            continue
        maps = {name: each for name, array in values.items() if (each := _place(array, size))}
        if maps or is_fixed:
            return Sample(size, multiple, values, maps)
        problems.append(ConversionError(f"no output is a map of {size[1]}x{size[0]} pixels: {shapes(values)}"))
    raise type(problems[0])(
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


def noise(size: tuple[int, int], seed: int) -> Tile:
    """A picture (height, width, 3) of coloured squares of `NOISE_STEPS` pixels."""
    rows, columns = (-(-side // NOISE_STEPS) for side in size)
    small = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(NOISE_STEPS, 0).repeat(NOISE_STEPS, 1)[: size[0], : size[1]])


def shapes(values: Mapping[str, Array]) -> str:
    return ", ".join(
        f"{name} {'x'.join(map(str, array.shape))} {array.dtype}" for name, array in list(values.items())[:MOST_SHOWN]
    )


def is_auxiliary(*names: str) -> bool:
    """Whether an output of one of these names exists for training alone."""
    return any(word in name.lower() for name in names for word in AUXILIARY)
