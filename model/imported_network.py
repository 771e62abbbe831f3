"""The description of a network that `fcn-convert` has converted from another program's ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from common.arrays import Size

KIND = "imported"
"""Value of `kind` in the JSON of such a description. Descriptions of our own networks have no `kind`."""
OutputKind = Literal["logits", "probabilities", "binary_logits", "binary_probabilities", "class_ids", "masks"]
"""What a network's output holds.

`logits` and `probabilities` have a channel for each class. `binary_logits` and `binary_probabilities` have one channel, for the
second of two classes: before and after a sigmoid. `class_ids` are whole numbers. `masks` come with class scores, both for
each of a number of queries.
"""
OUTPUT_KINDS: tuple[str, ...] = get_args(OutputKind)
Layout = Literal["NCHW", "NHWC"]
"""The axes of a network's input: N images, C channels, H rows, W columns."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

Pad = Literal["zero", "edge"]
FIRST_PHOTO = 240, 320
"""(height, width) of the smallest photo whose cost is measured."""
UNMEASURED = ((1 << 40, 1, 1.0),)
"""A curve that allows any photo."""


@dataclass(frozen=True)
class Whole:
    """How a network gets each photo as one tile. Raises `ValueError` for wrong values.

    multiple, least: of the sides that it takes, to which the file extends a photo. pad: by its edge, or by zeros behind the
    normalisation. curve: what one photo costs the process that runs the network, as (pixels, bytes of memory, seconds of a
    processor), as it was measured, by rising pixels; it begins with `FIRST_PHOTO`.
    """

    multiple: int
    least: int
    pad: Pad
    curve: tuple[tuple[int, int, float], ...]

    def __post_init__(self) -> None:
        curve = tuple((int(pixels), int(count), float(seconds)) for pixels, count, seconds in self.curve)
        is_curve = bool(curve) and all(min(point) > 0 for point in curve) and all(a[0] < b[0] for a, b in pairwise(curve))
        has_sides = 1 <= self.multiple <= self.least and not self.least % self.multiple
        if not has_sides or self.pad not in get_args(Pad) or not is_curve:
            words = "a multiple, a least side that is one, a pad of zero or edge, and a curve of rising pixels"
            raise ValueError(f"whole needs {words}, got {self}")
        object.__setattr__(self, "curve", curve)

    @property
    def most_pixels(self) -> int:
        """The largest photo that was measured; larger ones are refused, since no cost is known."""
        return self.curve[-1][0]

    def describe(self) -> str:
        pixels, count, seconds = self.curve[-1]
        cost = f"of at most {pixels / 1e6:.2f} megapixels, {count / 1e6:.0f} MB and {seconds:.3g} s of a processor"
        return f"photos {cost}; sides: at least {self.least}, multiples of {self.multiple}, {self.pad} beyond the photo"

    def extended(self, size: Size) -> Size:
        """The (height, width) to which the file extends a photo."""
        height, width = (max(self.least, -(-side // self.multiple) * self.multiple) for side in size)
        return height, width

    def cost(self, pixels: int) -> tuple[int, float]:
        """Bytes and seconds for an extended photo of so many pixels: on the line between two that were measured.

        Where they grow faster than the pixels, the line lies above.
        """
        at, counts, seconds = zip(*self.curve, strict=True)
        return int(np.interp(pixels, at, counts)), float(np.interp(pixels, at, seconds))


@dataclass(frozen=True)
class ImportedNetwork:
    """A network that exists as an ONNX file alone; there is no master. Raises `ValueError` for wrong values.

    source, source_sha256: name and digest of the file that was converted. producer: the program that wrote it, as it says.
    output: what that file's output holds; the converted file gives logits. largest_tile: the most (height, width) of a tile,
    multiples of 32, where the network takes one size alone; else None. whole: if each photo is one tile; else None.
    """

    num_classes: int
    source: str
    source_sha256: str
    producer: str
    output: OutputKind
    largest_tile: tuple[int, int] | None = None
    whole: Whole | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.num_classes <= 255:
            raise ValueError(f"num_classes must be 1 to 255 (ids are 8-bit and 255 is void), got {self.num_classes}")
        if self.output not in OUTPUT_KINDS:
            raise ValueError(f"output must be one of {', '.join(OUTPUT_KINDS)}, got {self.output!r}")
        if self.largest_tile is not None:
            tile = tuple(self.largest_tile)  # JSON gives a list
            if len(tile) != 2 or any(not isinstance(side, int) or side < 32 or side % 32 for side in tile):
                raise ValueError(f"largest_tile must have two sides that are multiples of 32, got {self.largest_tile}")
            object.__setattr__(self, "largest_tile", tile)
        if isinstance(self.whole, dict):  # JSON's
            object.__setattr__(self, "whole", Whole(**self.whole))

    @property
    def has_logits(self) -> bool:
        """Whether the network gives a score for each class, which confidence needs."""
        return self.output != "class_ids"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImportedNetwork:
        """The description with these values, `kind` among them. Raises `ValueError` for unknown and missing names."""
        known_names = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known_names - {"kind"}):
            raise ValueError(f"unknown facts of an imported network {unknown}; known are {sorted(known_names)}")
        try:
            return cls(**{name: value for name, value in values.items() if name != "kind"})
        except TypeError as error:
            raise ValueError(f"incomplete description of an imported network: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        return {"kind": KIND} | asdict(self)
