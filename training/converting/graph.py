"""Reads an ONNX file of a stranger, refuses what its network could do beside computing, and finds the resize at its end.

All is checked before anything runs. What computes in other types than float32 is made to compute in it, as OpenVINO serves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.inliner
import onnx.version_converter
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from common.printable import printable
from model.architecture import Grid
from model.inference.runtimes.openvino_runtime import has_external_data

MOST_BYTES = 1 << 30
MOST_NODES = 20_000
TRANSFORM = "coordinate_transformation_mode"
DOMAINS = ("", "ai.onnx")
UNBOUNDED = ("Loop", "Scan", "SequenceMap")  # repeat a graph, by a number that may come from the input
LEAST_OPSET = 13  # the first whose Pad, Clip and Slice are those that the converted file uses
CORNER_OPSET = 10  # up to it, resizes take a pixel's place without halves, which later opsets call `asymmetric`
LONGEST_NAME = 60  # letters of a name that a message shows
# operators that keep what their first input holds
PASSING = (
    "Cast", "Identity", "Resize", "Upsample", "Slice", "Squeeze", "Unsqueeze", "Transpose", "Reshape", "Pad", "Concat",
    "Gather",
)  # fmt: skip
ORDERING = ("Cast", "Identity", "Softmax", "LogSoftmax")  # operators that keep the order of the classes
GRIDS: dict[str, Grid] = {"half_pixel": "half_pixel", "pytorch_half_pixel": "half_pixel", "asymmetric": "corner"}
LONGEST_REASON = 300  # letters
TYPE_ATTRIBUTES = ("to", "dtype")  # of Cast, RandomNormal and others


class ConversionError(ValueError):
    """A network that cannot be converted, or about which a question is open. The message says what to do."""


class RunError(ConversionError):
    """A library cannot load or run the network. Libraries do not say whether they had too little memory."""


def reason(error: Exception) -> str:
    """What another library's error says, in one line of at most `LONGEST_REASON` letters."""
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    """The text in one line of at most `LONGEST_REASON` letters."""
    return printable(" ".join(text.split()), LONGEST_REASON)


def read_graph(path: Path, data: bytes) -> onnx.ModelProto:
    """The model of an ONNX file's bytes, of `LEAST_OPSET` or above, without functions of its own. path: for messages.

    Call it in a process that may die: functions may be nested to any depth. Raises `ConversionError` for a file that is no
    ONNX model, tensors in other files, operators that are not ONNX's own,
    operators that repeat a graph, and more bytes or nodes than the limits.
    """
    if len(data) > MOST_BYTES:
        raise ConversionError(f"{path} has {len(data):,} bytes; at most {MOST_BYTES:,} are read")
    if data.startswith(b"version https://git-lfs"):
        raise ConversionError(f"{path} is a pointer of Git LFS, not the file itself: git lfs pull fetches it")
    if path.suffix == ".xml" or data.startswith(b"<?xml"):
        raise ConversionError(
            f"{path} is a network in OpenVINO's format, which cannot be converted: export the network that it was made of to "
            "ONNX (Ultralytics: yolo export format=onnx)"
        )
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ConversionError(f"{path} is damaged, or no ONNX file: {reason(error)}") from error
    _check_count(path, model)  # first, because the next check takes long for many nodes
    if has_external_data(data):
        raise ConversionError(
            f"{path} keeps tensors in other files, which are not read; export it again with all tensors inside "
            "(torch: external_data=False; or onnx.save(model, path, save_as_external_data=False))"
        )
    if not model.graph.node:
        raise ConversionError(f"{path} is damaged, or no ONNX file: it has no network")
    if model.functions:
        try:
            model = onnx.inliner.inline_local_functions(model)
        except onnx.checker.ValidationError as error:
            raise ConversionError(f"{path} has functions that cannot be put in place: {reason(error)}") from error
    _check_nodes(path, model)
    return _upgraded(path, model)


def producer(model: onnx.ModelProto) -> str:
    """The program that wrote the model, as it says: at most `LONGEST_NAME` letters."""
    return printable(f"{model.producer_name} {model.producer_version}".strip(), LONGEST_NAME) or "unknown"


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's operators that the model uses."""
    return max((entry.version for entry in model.opset_import if entry.domain in DOMAINS), default=0)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and all graphs inside its nodes, such as the branches of `If`."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from graphs(inner)


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph, with those of graphs inside them."""
    return chain.from_iterable(each.node for each in graphs(graph))


def all_names(graph: onnx.GraphProto) -> set[str]:
    """The names of a graph's tensors and nodes."""
    names = {value.name for part in (graph.input, graph.output, graph.initializer, graph.value_info) for value in part}
    for node in nodes(graph):
        names.update((node.name, *node.input, *node.output))
    return names


def origin(model: onnx.ModelProto, name: str, op_types: Collection[str] = PASSING) -> onnx.NodeProto | None:
    """The node that gives what a tensor holds: the nearest before it that is none of `op_types`; None for an input."""
    return trace(model, name, op_types)[1]


def trace(model: onnx.ModelProto, name: str, op_types: Collection[str]) -> tuple[str, onnx.NodeProto | None]:
    """The tensor before this one and before all nodes of `op_types` above it, and the node that gives it; None for an input."""
    by_output = {output: node for node in model.graph.node for output in node.output}
    while (node := by_output.get(name)) is not None and node.op_type in op_types and node.input:
        name = node.input[0]
    return name, node


def _check_count(path: Path, model: onnx.ModelProto) -> None:
    """Raises `ConversionError` for more than `MOST_NODES` nodes; counts no further."""
    if next(islice(nodes(model.graph), MOST_NODES, None), None) is not None:
        raise ConversionError(f"{path} has more than {MOST_NODES:,} operators, the most that are converted")


def _check_nodes(path: Path, model: onnx.ModelProto) -> None:
    _check_count(path, model)
    every = list(nodes(model.graph))
    foreign = Counter(f"{node.domain}.{node.op_type}" for node in every if node.domain not in DOMAINS)
    if foreign:
        raise ConversionError(
            f"{path} uses operators that are not ONNX's own: {_counted(foreign)}; export it with standard operators alone"
        )
    loops = Counter(node.op_type for node in every if node.op_type in UNBOUNDED)
    if loops:
        raise ConversionError(f"{path} repeats a part of its network: {_counted(loops)}; its time and memory have no bound")


def _upgraded(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    version = opset(model)
    if version >= LEAST_OPSET:
        return model
    try:
        result = onnx.version_converter.convert_version(model, LEAST_OPSET)
        if version <= CORNER_OPSET:
            for node in nodes(result.graph):
                if node.op_type == "Resize" and not any(each.name == TRANSFORM for each in node.attribute):
                    node.attribute.append(onnx.helper.make_attribute(TRANSFORM, "asymmetric"))
        return result
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"{path} is of opset {version}, which onnx cannot convert: export it with opset {LEAST_OPSET} or above "
            f"({reason(error)})"
        ) from error


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{printable(name, LONGEST_NAME)} ({count})" for name, count in counts.most_common(5))


def before_resize(model: onnx.ModelProto, output: str) -> tuple[str, Grid]:
    """The tensor that the last node, a linear resize, enlarges to this output, and where its cells lie.

    Raises `ConversionError` without a resize, and for one that the service's interpolation does not do: not linear, or with
    aligned corners.
    """
    node = origin(model, output, ORDERING)
    if node is None or node.op_type != "Resize":
        raise ConversionError(f"the output {output} does not end in a resize: convert without --before-resize")
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
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
        before_resize(model, output)
    except ConversionError:
        return False
    return True


def with_output(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    """A copy of the model that also gives these tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    outputs = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    return copy


def in_float32(model: onnx.ModelProto) -> str:
    """Makes a model compute in float32 what it computes in float16, in place. Gives the types that it had, in words.

    Also what it computes in float64, if it has GridSample: PyTorch's exporter leaves grids in float64, for which ONNX Runtime
    has no operator.
    """
    every_graph, every = list(graphs(model.graph)), list(nodes(model.graph))
    others = {TensorProto.FLOAT16: "float16"}
    if any(node.op_type == "GridSample" for node in every):
        others[TensorProto.DOUBLE] = "float64 in part"
    attributes = [attribute for node in every for attribute in node.attribute]
    types = [value.type.tensor_type for each in every_graph for part in (each.input, each.output) for value in part]
    types = [each for each in types if each.elem_type in others]
    tensors = [tensor for each in every_graph for tensor in each.initializer]
    tensors += [tensor for a in attributes for tensor in (a.t, *a.tensors)]
    tensors = [tensor for tensor in tensors if tensor.data_type in others]
    casts = [a for a in attributes if a.name in TYPE_ATTRIBUTES and a.i in others]
    numbers = {*(each.elem_type for each in types), *(tensor.data_type for tensor in tensors), *(a.i for a in casts)}
    for tensor in tensors:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for each in types:
        each.elem_type = TensorProto.FLOAT
    for attribute in casts:
        attribute.i = TensorProto.FLOAT
    for graph in every_graph if numbers else ():
        del graph.value_info[:]  # says the former types
    return " and ".join(sorted(others[number] for number in numbers))
