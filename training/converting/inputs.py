"""The input of an ONNX network: its layout, type and sides, as its graph declares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx

from training.converting.errors import ConversionError

Layout = Literal["NCHW", "NHWC"]
CHANNELS = 3
TYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.UINT8: "uint8",
}


@dataclass(frozen=True)
class NetworkInput:
    """The network's one input. sides: (height, width) in pixels, None for a side that may vary."""

    name: str
    layout: Layout
    dtype: str
    sides: tuple[int | None, int | None]

    @property
    def takes_pixels(self) -> bool:
        """Whether the network takes pixels as files hold them, and normalises them itself."""
        return self.dtype == "uint8"

    def describe(self) -> str:
        sides = " x ".join("any" if side is None else str(side) for side in self.sides)
        return f"{self.name}: {self.layout}, {self.dtype}, {sides} pixels"


def find_input(model: onnx.ModelProto) -> NetworkInput:
    """The network's input. Raises `ConversionError` unless it is one image of three channels."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ConversionError(f"the network must have one input, an image; it has {len(inputs)}: {names}")
    (value,) = inputs
    tensor = value.type.tensor_type
    if tensor.elem_type not in TYPES:
        type_names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
        type_name = type_names.get(tensor.elem_type, f"the number {tensor.elem_type}")
        raise ConversionError(f"the input {value.name} must be of the type {', '.join(TYPES.values())}, got {type_name}")
    sizes = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim]
    if len(sizes) != 4:
        raise ConversionError(f"the input {value.name} must have four axes (a batch of images), got {len(sizes)}")
    if sizes[0] not in (None, 1):
        raise ConversionError(
            f"the input {value.name} takes {sizes[0]} images at once; export it with a batch of 1, or a dynamic one"
        )
    layout = _layout(value.name, sizes)
    sides = (sizes[2], sizes[3]) if layout == "NCHW" else (sizes[1], sizes[2])
    return NetworkInput(value.name, layout, TYPES[tensor.elem_type], sides)


def _layout(name: str, sizes: list[int | None]) -> Layout:
    if sizes[1] == CHANNELS and sizes[3] != CHANNELS:
        return "NCHW"
    if sizes[3] == CHANNELS and sizes[1] != CHANNELS:
        return "NHWC"
    shape = " x ".join("?" if size is None else str(size) for size in sizes)
    if sizes[1] is None and sizes[3] is None:
        raise ConversionError(
            f"the input {name} says no number of channels: {shape}; export it with a fixed one, such as 1 x 3 x ? x ?"
        )
    raise ConversionError(
        f"the input {name} must have {CHANNELS} channels, red, green and blue, on its second or last axis; got {shape}: "
        "networks of other bands are not served"
    )
