"""A network of another program in ONNX Runtime: what it gives for pictures of noise, and which outputs are maps of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from common.arrays import Pixels, Size
from common.regular_file import read_regular_file
from imaging.decoding import Limits, decode, read_size
from imaging.errors import ImageError
from model.imported_network import Pad
from model.inference.scaling import working_size
from training.converting.graph import ConversionError, RunError, reason, with_output
from training.converting.inputs import NetworkInput
from training.converting.pixels import Normalisation
from training.data.files import images_below

Array = npt.NDArray[Any]
OutputLayout = Literal["NCHW", "NHWC", "NHW"]
MULTIPLES = (32, 64, 128, 96, 160, 192, 224)  # of sides that a network may want; of patches of 12, 20, 24, 14 and 28 pixels
AXES: dict[int, tuple[tuple[OutputLayout, int, int], ...]] = {3: (("NHW", 1, 2),), 4: (("NCHW", 2, 3), ("NHWC", 1, 2))}
"""Layouts of a map, with the axes of its rows and columns, by its number of axes."""
LARGEST_STRIDE = 32
LEAST_CELLS, MOST_SKEW = 4, 0.15  # on a side of what is nearly a map; between the shapes of a map and of its picture
PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "app" / "static" / "samples"
"""The photographs of the service's page, which each installation has."""
MOST_PHOTOGRAPHS = 4
NOISE_STEPS = 8  # of the probes' pictures: colours of a cell of so many pixels
SEED = 0
AUXILIARY = ("aux", "auxiliary")  # in names of outputs that exist for training alone
MOST_SHOWN = 6  # outputs in a message
NUMBERS = {
    f"tensor({name})"
    for name in ("float", "float16", "double", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
"""Types of outputs, as ONNX Runtime names them."""


class Original:
    """The network as it came, in ONNX Runtime on one thread, with the pixels that it wants.

    data: the file's bytes, as they came (default: those of `model`). `derive` makes other outputs of the network's own.
    """

    def __init__(
        self, model: onnx.ModelProto, network_input: NetworkInput, normalisation: Normalisation, data: bytes = b""
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.model, self.input, self.normalisation = model, network_input, normalisation
        self.derive: Callable[[dict[str, Array]], dict[str, Array]] = dict
        try:
            data = data or model.SerializeToString()
            self._session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes have no common base below it
            raise RunError(f"ONNX Runtime cannot load the network: {reason(error)}") from error
        self._names = [output.name for output in self._session.get_outputs() if output.type in NUMBERS]
        if not self._names:
            raise ConversionError("the network gives no array of numbers")

    def __call__(self, tile: Pixels, size: Size | None = None, pad: Pad = "zero") -> dict[str, Array]:
        """The outputs that are arrays of numbers, by name, for RGB pixels (height, width, 3).

        size: (height, width), to which they are extended below and at the right. pad: by what; zeros are the network's own, as
        of its convolutions.
        Raises `ConversionError` if the network fails.
        """
        values: Array = self.normalisation.apply(tile).astype(self.input.dtype)
        if size:
            missing = (0, size[0] - tile.shape[0]), (0, size[1] - tile.shape[1]), (0, 0)
            values = np.pad(values, missing, mode="edge" if pad == "edge" else "constant")
        batch = values[None] if self.input.layout == "NHWC" else np.ascontiguousarray(values.transpose(2, 0, 1))[None]
        try:
            outputs = dict(zip(self._names, self._session.run(self._names, {self.input.name: batch}), strict=True))
        except Exception as error:
            raise RunError(f"the network fails on {tile.shape[1]}x{tile.shape[0]} pixels: {reason(error)}") from error
        return self.derive(outputs)

    def of(self, model: onnx.ModelProto) -> Original:
        """Another network with the same input."""
        return Original(model, self.input, self.normalisation)

    def giving(self, *names: str) -> Original:
        """The same network, which also gives these tensors of its graph."""
        return self.of(with_output(self.model, *names))


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

    def of(self, original: Original) -> Sample:
        """What another network of the same sides gives for the same picture."""
        return replace(self, values=original(noise(self.size, SEED)))

    def finest(self, names: Sequence[str]) -> str:
        """The first of these maps with the most cells."""
        return min(names, key=lambda name: self.maps[name][1])

    def channels(self, name: str) -> int:
        """The channels of a map; 1 without an axis of them."""
        layout = self.maps[name][0]
        return 1 if layout == "NHW" else int(self.values[name].shape[1 if layout == "NCHW" else 3])


def sample(original: Original, sides: tuple[int | None, int | None]) -> Sample:
    """What the network gives for a picture whose sides differ. sides: its fixed (height, width), None for one that may vary.

    Raises `ConversionError` for a network that takes none of the sizes that are tried.
    """
    height, width = sides
    if height and width:
        return Sample((height, width), 1, original(noise((height, width), SEED)))
    problems: list[ConversionError] = []
    for multiple in MULTIPLES:
        rows, columns = (3, 5) if multiple <= 128 else (1, 2)
        size = height or rows * multiple, width or columns * multiple
        try:
            result = Sample(size, multiple, original(noise(size, SEED)))
        except ConversionError as error:
            problems.append(error)
            continue
        if result.maps:
            return result
        if misfits := [text for each, array in result.values.items() if (text := misfit(each, array, size))]:
            problems.insert(0, ConversionError(misfits[0]))
        problems.append(ConversionError(f"no output is a map of {size[1]}x{size[0]} pixels: {shapes(result.values)}"))
    raise type(problems[0])(
        f"{problems[0]} (tried: sides that are multiples of {', '.join(map(str, MULTIPLES))}); if the network takes one size "
        "alone, export it without dynamic axes"
    )


def _place(values: Array, size: tuple[int, int]) -> tuple[OutputLayout, int] | None:
    """The layout and the stride of a map for an image of this size; None if the values are no map."""
    if values.ndim not in AXES or values.shape[0] != 1:
        return None
    for layout, rows, columns in AXES[values.ndim]:
        stride = min(size[0] // max(values.shape[rows], 1), LARGEST_STRIDE)
        if (values.shape[rows] * stride, values.shape[columns] * stride) == size:
            return layout, stride
    return None


def misfit(name: str, values: Array, size: tuple[int, int]) -> str:
    """Why an output that is nearly a map of a picture is none: its margins, or its cells; empty for any other output."""
    for _, rows, columns in AXES[4] if values.ndim == 4 and values.shape[0] == 1 else ():
        cells = values.shape[rows], values.shape[columns]
        if min(cells) < LEAST_CELLS:
            continue
        what = f"the output {name} has {cells[1]}x{cells[0]} cells for pictures of {size[1]}x{size[0]} pixels"
        margin, sides = size[0] - cells[0], (size[0] / cells[0], size[1] / cells[1])
        if 0 < margin == size[1] - cells[1] <= min(size) / 2:
            return f"{what}: convolutions without padding leave {margin / 2:g} pixels out at each edge; export it with padding"
        if abs(sides[0] / sides[1] - 1) <= MOST_SKEW:
            return (
                f"{what}, one for {sides[1]:.4g}x{sides[0]:.4g}: cells of 1 to {LARGEST_STRIDE} whole pixels are served: "
                "export it for sides that are their multiples"
            )
    return ""


def noise(size: tuple[int, int], seed: int) -> Pixels:
    """A picture (height, width, 3) of coloured squares of `NOISE_STEPS` pixels."""
    rows, columns = (-(-side // NOISE_STEPS) for side in size)
    small = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(NOISE_STEPS, 0).repeat(NOISE_STEPS, 1)[: size[0], : size[1]])


def photographs(folder: Path | None) -> Iterator[Pixels]:
    """The first `MOST_PHOTOGRAPHS` photographs (height, width, 3) of a folder, by default of `PHOTOGRAPHS`.

    Their longer side is at most 1024 pixels. Raises `ConversionError` for one that cannot be decoded.
    """
    for path in islice(images_below(folder or PHOTOGRAPHS), MOST_PHOTOGRAPHS):
        data = read_regular_file(path)
        try:
            size = working_size(read_size(data, Limits()), "auto", (32, 1024))
            yield decode(data, Limits(), size)
        except ImageError as error:
            raise ConversionError(f"{path}: {error}") from error


def shapes(values: Mapping[str, Array]) -> str:
    return ", ".join(
        f"{name} {'x'.join(map(str, array.shape))} {array.dtype}" for name, array in list(values.items())[:MOST_SHOWN]
    )


def is_auxiliary(*names: str) -> bool:
    """Whether an output of one of these names exists for training alone."""
    return any(word in name.lower() for name in names for word in AUXILIARY)
