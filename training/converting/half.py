"""Networks in float16: they run in float32, as OpenVINO serves them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from training.converting.graph import nodes

TYPE_ATTRIBUTES = ("to", "dtype")  # of Cast, RandomNormal and others


def in_float32(model: onnx.ModelProto) -> bool:
    """Makes a model compute in float32 what it computes in float16, in place. Gives whether it had float16."""
    graph = model.graph
    every = list(nodes(graph))
    attributes = [attribute for node in every for attribute in node.attribute]
    graphs = [graph, *(a.g for a in attributes if a.HasField("g")), *(each for a in attributes for each in a.graphs)]
    types = [value.type.tensor_type for each in graphs for part in (each.input, each.output) for value in part]
    tensors = [tensor for each in graphs for tensor in each.initializer]
    tensors += [tensor for a in attributes for tensor in (a.t, *a.tensors)]
    halves = [tensor for tensor in tensors if tensor.data_type == TensorProto.FLOAT16]
    half_types = [each for each in types if each.elem_type == TensorProto.FLOAT16]
    half_casts = [a for a in attributes if a.name in TYPE_ATTRIBUTES and a.i == TensorProto.FLOAT16]
    for tensor in halves:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for each in half_types:
        each.elem_type = TensorProto.FLOAT
    for attribute in half_casts:
        attribute.i = TensorProto.FLOAT
    is_half = bool(halves or half_types or half_casts)
    if is_half:
        for each_graph in graphs:
            del each_graph.value_info[:]  # says the former types
    return is_half
