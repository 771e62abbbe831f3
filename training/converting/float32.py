"""Networks that compute in other types than float32: they run in float32, as OpenVINO serves them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from training.converting.graph import nodes

TYPE_ATTRIBUTES = ("to", "dtype")  # of Cast, RandomNormal and others


def in_float32(model: onnx.ModelProto) -> str:
    """Makes a model compute in float32 what it computes in float16, in place. Gives the types that it had, in words.

    Also what it computes in float64, if it has GridSample: PyTorch's exporter leaves grids in float64, for which ONNX Runtime
    has no operator.
    """
    graph = model.graph
    every = list(nodes(graph))
    others = {TensorProto.FLOAT16: "float16"}
    if any(node.op_type == "GridSample" for node in every):
        others[TensorProto.DOUBLE] = "float64 in part"
    attributes = [attribute for node in every for attribute in node.attribute]
    graphs = [graph, *(a.g for a in attributes if a.HasField("g")), *(each for a in attributes for each in a.graphs)]
    types = [value.type.tensor_type for each in graphs for part in (each.input, each.output) for value in part]
    types = [each for each in types if each.elem_type in others]
    tensors = [tensor for each in graphs for tensor in each.initializer]
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
    for each_graph in graphs if numbers else ():
        del each_graph.value_info[:]  # says the former types
    return " and ".join(sorted(others[number] for number in numbers))
