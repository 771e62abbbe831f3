"""What a network gives for pictures of noise, and which of its outputs are maps of the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
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
    name.
    """

    size: tuple[int, int]
    multiple: int
    values: Mapping[str, Array]

    @cached_property
    def maps(self) -> Mapping[str, tuple[OutputLayout, int]]:
        """The layout and the stride of each output that is a map of the picture."""
        return {name: each for name, array in self.values.items() if (each := _place(array, self.size))}

    def of(self, run: Run) -> Sample:
        """What another network of the same sides gives for the same picture."""
        return replace(self, values=run(noise(self.size, SEED)))

    def channels(self, name: str) -> int:
        """The channels of a map; 1 without an axis of them."""
        layout = self.maps[name][0]
        return 1 if layout == "NHW" else int(self.values[name].shape[1 if layout == "NCHW" else 3])


def sample(run: Run, sides: tuple[int | None, int | None]) -> Sample:
    """What the network gives for a picture whose sides differ. sides: its fixed (height, width), None for one that may vary.

    Raises `ConversionError` for a network that takes none of the sizes that are tried.
    """
    height, width = sides
    if height and width:
        return Sample((height, width), 1, run(noise((height, width), SEED)))
    problems: list[ConversionError] = []
    for multiple in MULTIPLES:
        size = height or 3 * multiple, width or 5 * multiple
        try:
            result = Sample(size, multiple, run(noise(size, SEED)))
        except ConversionError as error:
            problems.append(error)
            continue
        if result.maps:
            return result
        problems.append(ConversionError(f"no output is a map of {size[1]}x{size[0]} pixels: {shapes(result.values)}"))
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
