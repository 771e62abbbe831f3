"""The scores of which a network gives only the ids of the largest ones: the tensor before its last ArgMax, or TopK of one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from training.converting.graph import ORDERING, ConversionError, origin
from training.converting.outputs import NetworkOutput, channels_first
from training.converting.samples import Array

KEEPING = ("Cast", "Identity", "Squeeze", "Unsqueeze", "Transpose", "Reshape")
"""Operators that keep a map of ids as it is, but for its type and its axes."""
CHOOSING = ("ArgMax", "TopK")
SIGMOIDS = ("Sigmoid", "HardSigmoid")
LEAST_EQUAL = 0.999  # of the ids; rounding in a softmax may change single ones


def scores_name(model: onnx.ModelProto, output: str) -> str:
    """The tensor of scores from which this output's ids are chosen, before any softmax.

    Raises `ConversionError`, whose message is the reason, where the ids are not simply those of the largest scores.
    """
    node = origin(model, output, KEEPING)
    if node is None or node.op_type not in CHOOSING:
        earlier = origin(model, output)
        last = "no operator" if node is None else node.op_type
        if earlier is not None and earlier.op_type in CHOOSING:
            raise ConversionError(f"{last} follows the {earlier.op_type}")
        raise ConversionError(f"they come from {last}, not from ArgMax")
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if attributes.get("select_last_index"):
        raise ConversionError("of equal scores, its ArgMax takes the last (select_last_index)")
    if node.op_type == "TopK" and not (_is_one(model, node.input[1]) and attributes.get("largest", 1)):
        raise ConversionError("its TopK gives more than the largest score, or not that one")
    by_output = {tensor: each for each in model.graph.node for tensor in each.output}
    name: str = node.input[0]
    while (before := by_output.get(name)) is not None and before.op_type in ORDERING:
        name = before.input[0]
    source = origin(model, name)
    if source is not None and source.op_type in SIGMOIDS:
        raise ConversionError("its scores are independent sigmoids, which say nothing of one class beside the others")
    return name


def check_ids(values: Mapping[str, Array], ids: NetworkOutput, scores: NetworkOutput) -> None:
    """Raises `ConversionError`, whose message is the reason, unless the ids in one run are those of the largest scores."""
    own = channels_first(values[ids.name], ids.layout)[0]
    largest = channels_first(values[scores.name], scores.layout).argmax(0)
    if scores.channels == 1 or own.shape != largest.shape or np.mean(own == largest) < LEAST_EQUAL:
        raise ConversionError("they are not those of the largest scores: over another axis than the classes, or changed")


def _is_one(model: onnx.ModelProto, name: str) -> bool:
    """Whether this tensor is a constant that holds 1."""
    tensors = [tensor for tensor in model.graph.initializer if tensor.name == name]
    for node in model.graph.node:
        if node.op_type == "Constant" and name in node.output:
            tensors += [attribute.t for attribute in node.attribute if attribute.name == "value"]
    return any(numpy_helper.to_array(tensor).ravel().tolist() == [1] for tensor in tensors)
