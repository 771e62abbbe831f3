"""The resize at the end of a network: without it, the service interpolates its logits itself, in a fraction of the memory."""

from __future__ import annotations

import onnx
from onnx import helper

from model.architecture import Grid
from training.converting.errors import ConversionError
from training.converting.graph import TRANSFORM, origin

PASSING = ("Cast", "Identity", "Softmax", "LogSoftmax")  # between the resize and the output: they keep the order of the classes
GRIDS: dict[str, Grid] = {"half_pixel": "half_pixel", "pytorch_half_pixel": "half_pixel", "asymmetric": "corner"}


def before_resize(model: onnx.ModelProto, output: str) -> tuple[str, Grid] | None:
    """The tensor that the last node, a linear resize, enlarges to this output, and where its cells lie; None without one.

    Raises `ConversionError` for a resize that the service's interpolation does not do: not linear, or with aligned corners.
    """
    node = origin(model, output, PASSING)
    if node is None or node.op_type != "Resize":
        return None
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    mode = attributes.get("mode", b"nearest").decode()
    transform = attributes.get(TRANSFORM, b"half_pixel").decode()
    if mode != "linear" or transform not in GRIDS:
        raise ConversionError(
            f"the network ends in a resize of the mode {mode}, {transform}; the service does only linear ones of "
            f"{', '.join(GRIDS)}: convert without --before-resize"
        )
    return node.input[0], GRIDS[transform]


def ends_in_resize(model: onnx.ModelProto, output: str) -> bool:
    """Whether `before_resize` has a tensor for this output."""
    try:
        return before_resize(model, output) is not None
    except ConversionError:
        return False


def with_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy of the model that also gives this tensor."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if name not in {value.name for value in copy.graph.output}:
        copy.graph.output.append(onnx.ValueInfoProto(name=name))
    return copy
