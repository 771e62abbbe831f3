"""The input of an ONNX network: its layout, type and sides, as its graph declares them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import onnx

from model.imported_network import Layout
from training.converting.graph import ConversionError

CHANNELS = 3
CHANNEL_AXES: dict[Layout, int] = {"NCHW": 1, "NHWC": 3}
LAYOUT_OF_PERM: dict[tuple[int, ...], Layout] = {(0, 3, 1, 2): "NHWC", (0, 2, 3, 1): "NCHW"}
PIXELWISE = ("Add", "BatchNormalization", "Cast", "Clip", "Div", "Identity", "Mul", "Pad", "Resize", "Sub")
"""Operators of normalisation, which keep the layout."""
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

    @property
    def size(self) -> str:
        """The sides, in words."""
        return " x ".join("any" if side is None else str(side) for side in self.sides) + " pixels"

    def describe(self) -> str:
        """The input in a line of text."""
        return f"{self.name}: {self.layout}, {self.dtype}, {self.size}"


def find_input(model: onnx.ModelProto, layout: Layout | None = None) -> NetworkInput:
    """The network's input. layout: as the user says it, for an input whose channels have no number.

    Raises `ConversionError` unless it is one image of three channels.
    """
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
    layout = _layout(model, value, sizes, layout)
    sides = (sizes[2], sizes[3]) if layout == "NCHW" else (sizes[1], sizes[2])
    return NetworkInput(value.name, layout, TYPES[tensor.elem_type], sides)


def _layout(model: onnx.ModelProto, value: onnx.ValueInfoProto, sizes: list[int | None], layout: Layout | None) -> Layout:
    """The layout by the number of channels; without one by the first operators, or by the names of the axes."""
    name, shape = value.name, " x ".join("?" if size is None else str(size) for size in sizes)
    candidates = [each for each, axis in CHANNEL_AXES.items() if sizes[axis] == CHANNELS]
    if layout and (layout in candidates or sizes[CHANNEL_AXES[layout]] is None):
        return layout
    if layout:
        raise ConversionError(f"the input {name} is {shape}, without {CHANNELS} channels where --layout {layout} has them")
    if len(candidates) == 1:
        return candidates[0]
    if not candidates and not sizes[1] is sizes[3] is None:
        raise ConversionError(
            f"the input {name} must have {CHANNELS} channels, red, green and blue, on its second or last axis; got {shape}: "
            "networks of other bands are not served"
        )
    layout = _layout_of_use(model, name) or _layout_of_names(value)
    if layout is None:
        raise ConversionError(
            f"the input {name} does not say which axis holds the channels: {shape}; say it: --layout NCHW (as PyTorch has "
            "them) or --layout NHWC (as TensorFlow has them)"
        )
    return layout


def _layout_of_use(model: onnx.ModelProto, name: str) -> Layout | None:
    """The layout by the first convolution or transposition of the input; None if neither is near.

    Raises `ConversionError` for a convolution of other than three channels.
    """
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for tensor in node.input[:1]:
            users.setdefault(tensor, []).append(node)
    names = deque([name])
    while names:
        for node in users.pop(names.popleft(), []):
            attributes = {each.name: each for each in node.attribute}
            if node.op_type == "Transpose" and "perm" in attributes:
                return LAYOUT_OF_PERM.get(tuple(attributes["perm"].ints))
            if node.op_type == "Conv" and (kernel := shapes.get(node.input[1])):
                channels = kernel[1] * (attributes["group"].i if "group" in attributes else 1)
                if channels != CHANNELS:
                    raise ConversionError(
                        f"the first convolution of the input {name} takes {channels} channels; networks of other bands than "
                        "red, green and blue are not served"
                    )
                return "NCHW"
            if node.op_type in PIXELWISE:
                names.append(node.output[0])
    return None


def _layout_of_names(value: onnx.ValueInfoProto) -> Layout | None:
    """The layout by the axis whose name speaks of channels, such as `num_channels`."""
    names = [dim.dim_param.lower() for dim in value.type.tensor_type.shape.dim]
    candidates: list[Layout] = [each for each, axis in CHANNEL_AXES.items() if "channel" in names[axis]]
    return candidates[0] if len(candidates) == 1 else None
