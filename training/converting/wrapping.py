"""Puts a network of another program between nodes that take uint8 pixels and give float32 logits, as our own exports do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.checker
from onnx import TensorProto, helper, numpy_helper

from model.imported_network import UNMEASURED, Whole
from model.manifest import Manifest
from training.converting.graph import ConversionError, all_names, graphs, nodes, reason, with_output
from training.converting.inputs import NetworkInput
from training.converting.outputs import ID_LOGIT, LEAST_PROBABILITY, NetworkOutput
from training.converting.pixels import Normalisation
from training.converting.samples import OutputLayout
from training.publishing.onnx_files import OURS

INPUT, OUTPUT = "pixels", "logits"
PREFIX = "network/"  # of the network's names that are ours too
LEAST_IR_VERSION = 8  # of the file format: before 4, constants are inputs too
UNIT = 32  # sides of tiles are its multiples


def wrap(
    model: onnx.ModelProto, network_input: NetworkInput, normalisation: Normalisation, output: NetworkOutput, manifest: Manifest
) -> onnx.ModelProto:
    """The model from uint8 pixels (1, height, width, 3) in RGB to float32 logits (1, classes, rows, columns).

    Heights and widths are multiples of 32, at most the network's own where it takes one size alone. Where the network wants
    other sides, the pixels at the right and bottom edges are repeated, and the cells of these pixels are cut off.

    manifest: of the classes. If it says that photos come as a whole, they have any sides, and the cells beyond them stay.
    """
    network, whole, classes = onnx.GraphProto(), manifest.whole, len(manifest.labels)
    network.CopyFrom(model.graph)
    names = {name: PREFIX + name for name in all_names(network) if name in (INPUT, OUTPUT) or name.startswith(OURS)}
    _rename(network, names)
    before, after = Nodes(f"{OURS}before/"), Nodes(f"{OURS}after/")
    is_padded = bool(whole) or network_input.sides != (None, None) or output.multiple > UNIT
    how = whole or (Whole(output.multiple, output.multiple, "edge", UNMEASURED) if is_padded else None)
    name_of_input, name_of_output = (names.get(name, name) for name in (network_input.name, output.name))
    _normalise(before, network_input, normalisation, how, name_of_input)
    _give_logits(after, output, classes, is_padded and not whole, name_of_output)
    for index, node in enumerate(network.node):
        node.name = node.name or f"{PREFIX}{node.op_type}_{index}"  # quantisation names the nodes that it leaves alone
    needed = _needed([*before.nodes, *network.node, *after.nodes])
    inputs = {name for node in needed for name in _inputs(node)}
    graph = helper.make_graph(
        needed,
        "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, classes, "rows", "columns"])],
        [tensor for tensor in (*network.initializer, *before.constants, *after.constants) if tensor.name in inputs],
    )
    graph.sparse_initializer.extend(tensor for tensor in network.sparse_initializer if tensor.values.name in inputs)
    result = helper.make_model(graph, opset_imports=list(model.opset_import))
    result.ir_version = max(model.ir_version, LEAST_IR_VERSION)
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    try:
        onnx.checker.check_model(result)
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"the network is no valid ONNX: {reason(error)}") from error
    return result


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Renames tensors, also in graphs inside the graph."""
    for each in graphs(graph):
        for value in (*each.input, *each.output, *each.value_info, *each.initializer):
            value.name = names.get(value.name, value.name)
    for node in nodes(graph):
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]


def _needed(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, in order, without those that `logits` does not depend on, such as heads for training alone."""
    names, result = {OUTPUT}, []
    for node in reversed(nodes):
        if names.intersection(node.output):
            names.update(_inputs(node))
            result.append(node)
    return result[::-1]


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that a node uses, also in graphs inside it."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (name for inner in nodes(graph) for name in inner.input)
            yield from (value.name for each in graphs(graph) for value in each.output)


class Nodes:
    """Nodes that follow one another, and their constants. Each name begins with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix = prefix

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """The name of a new node's output."""
        name = f"{self._prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output or name], name, **attributes))
        return output or name

    def channels_first(self, name: str, layout: OutputLayout) -> str:
        """The name of an output as float32 (1, channels, rows, columns)."""
        values = self.add("Cast", name, to=TensorProto.FLOAT)
        if layout == "NHW":
            return self.add("Unsqueeze", values, self.constant([1], np.int64))
        return self.add("Transpose", values, perm=[0, 3, 1, 2]) if layout == "NHWC" else values

    def added_to(self, model: onnx.ModelProto, name: str) -> onnx.ModelProto:
        """A copy of the model with these nodes, which gives this one of their tensors too."""
        result = with_output(model, name)
        result.graph.node.extend(self.nodes)
        result.graph.initializer.extend(self.constants)
        return result

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        name = f"{self._prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name


def _normalise(nodes: Nodes, network_input: NetworkInput, normalisation: Normalisation, how: Whole | None, name: str) -> None:
    """Adds nodes from `pixels` to the network's input. how: they are extended to sides that the network takes; None: not."""
    is_channels_first = network_input.layout == "NCHW"
    channel_axis, row_axis, column_axis = (1, 2, 3) if is_channels_first else (3, 1, 2)
    values = nodes.add("Cast", INPUT, to=TensorProto.FLOAT)
    if is_channels_first:
        values = nodes.add("Transpose", values, perm=[0, 3, 1, 2])
    if normalisation.bgr:
        values = nodes.add("Gather", values, nodes.constant([2, 1, 0], np.int64), axis=channel_axis)
    if not network_input.takes_pixels:
        shape = [1, 1, 1, 1]
        shape[channel_axis] = 3
        mean, std = (np.reshape(np.array(each, np.float64), shape) for each in (normalisation.mean, normalisation.std))
        values = nodes.add("Mul", values, nodes.constant(normalisation.scale / std, np.float32))
        values = nodes.add("Add", values, nodes.constant(-mean / std, np.float32))
    if how:
        sides = network_input.sides
        none = nodes.constant([0], np.int64)
        missing = [none] * 4
        for axis, pixels_axis, side in ((row_axis, 1, sides[0]), (column_axis, 2, sides[1])):
            missing[axis] = nodes.add("Sub", *_wanted_side(nodes, pixels_axis, side, how))
        pads = nodes.add("Concat", *[none] * 4, *missing, axis=0)
        values = nodes.add("Pad", values, pads, mode="edge" if how.pad == "edge" else "constant")
    nodes.add("Cast", values, output=name, to=helper.np_dtype_to_tensor_dtype(np.dtype(network_input.dtype)))


def _wanted_side(nodes: Nodes, axis: int, side: int | None, how: Whole) -> tuple[str, str]:
    """Names of two numbers: the side that the network wants, and the side of the pixels."""
    of_pixels = _side(nodes, axis)
    if side is not None:
        return nodes.constant([side], np.int64), of_pixels
    step, least = (nodes.constant([number], np.int64) for number in (how.multiple, how.least))
    steps = nodes.add("Div", nodes.add("Add", of_pixels, nodes.constant([how.multiple - 1], np.int64)), step)
    rounded_up = nodes.add("Mul", steps, step)
    if how.least > how.multiple:
        rounded_up = nodes.add("Where", nodes.add("Less", rounded_up, least), least, rounded_up)  # no Max of int64 in opset 11
    return rounded_up, of_pixels


def _side(nodes: Nodes, axis: int) -> str:
    """The name of a side of the pixels, with one axis."""
    return nodes.add("Gather", nodes.add("Shape", INPUT), nodes.constant([axis], np.int64), axis=0)


def _give_logits(nodes: Nodes, output: NetworkOutput, classes: int, is_padded: bool, name: str) -> None:
    """Adds nodes from the network's output of this name to `logits`, as `to_logits` computes them."""
    values = nodes.channels_first(name, output.layout)
    if is_padded:
        stride = nodes.constant([output.stride], np.int64)
        ends = [nodes.add("Div", _side(nodes, axis), stride) for axis in (1, 2)]
        starts, axes = nodes.constant([0, 0], np.int64), nodes.constant([2, 3], np.int64)
        values = nodes.add("Slice", values, starts, nodes.add("Concat", *ends, axis=0), axes)
    if output.scale != (0, 1):
        low, high = output.scale
        values = nodes.add("Sub", values, nodes.constant(low, np.float32))
        values = nodes.add("Div", values, nodes.constant(high - low, np.float32))
    if output.kind == "class_ids":
        ids = nodes.constant(np.arange(classes).reshape(1, -1, 1, 1), np.float32)
        values = nodes.add("Cast", nodes.add("Equal", values, ids), to=TensorProto.FLOAT)
        values = nodes.add("Mul", values, nodes.constant(ID_LOGIT, np.float32))
    if output.kind == "masks":
        values = nodes.add("Log", values)
    if output.kind in ("probabilities", "binary_probabilities"):
        one, least = nodes.constant(1, np.float32), LEAST_PROBABILITY
        most = 1 if output.kind == "probabilities" else 1 - least
        values = nodes.add("Clip", values, nodes.constant(least, np.float32), nodes.constant(most, np.float32))
        logarithm = nodes.add("Log", values)
        if output.kind == "binary_probabilities":
            logarithm = nodes.add("Sub", logarithm, nodes.add("Log", nodes.add("Sub", one, values)))
        values = logarithm
    if output.kind in ("binary_logits", "binary_probabilities"):
        values = nodes.add("Concat", nodes.add("Sub", values, values), values, axis=1)
    nodes.add("Identity", values, output=OUTPUT)
