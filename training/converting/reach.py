"""Finds the operators of a network that look at all rows and columns, so that a tile's classes differ from the photo's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx

from training.converting.samples import SEED, Original, noise

NORMALISING = {
    "InstanceNormalization": 2, "GroupNormalization": 2, "MeanVarianceNormalization": 2,
    "LayerNormalization": -1, "Attention": -2,
}  # fmt: skip
"""Operators that keep a shape and compute over its axes from this one on, unless an attribute says another."""
PRODUCTS = ("MatMul", "Gemm", "Einsum")  # of matrices: an attention, where they give one value for an axis
REDUCING = ("Reduce", "GlobalAverage", "GlobalMax", "GlobalLp", "AveragePool", "MaxPool", "LpPool", *PRODUCTS)
"""Beginnings of operators that may give one value for an axis."""
ALWAYS = ("InstanceNormalization", "GroupNormalization", "Global")  # beginnings of those that look at all by themselves
LEAST_STEP = 32  # pixels
STEPS = ((4, 7), (3, 5))  # sides of the pictures that are run, in steps; no two sides or areas are equal
MOST_NAMED = 3


def describe_reach(original: Original, multiple: int) -> str:
    """The operators that look at all rows and columns, in words; empty without any. multiple: of sides that the network takes.

    They compute over an axis that grows with the picture, so the network runs at two sizes. Of a network of fixed sides, only
    those are seen that look at all by themselves.
    """
    graph, image = original.model.graph, original.input.name
    nodes = [node for node in graph.node if node.op_type.startswith((*NORMALISING, *REDUCING))]
    if original.input.sides != (None, None):
        nodes = [node for node in nodes if node.op_type.startswith(ALWAYS)]
    else:
        constants = {"", image, *(tensor.name for tensor in graph.initializer)}
        both = original.giving(*{name for node in nodes for name in (*node.input, node.output[0])} - constants)
        step = -(-LEAST_STEP // multiple) * multiple
        first, second = (both(noise((rows * step, columns * step), SEED)) for rows, columns in STEPS)
        growth = {
            name: [array.shape[axis] != second[name].shape[axis] for axis in range(array.ndim)] for name, array in first.items()
        }
        growth[image] = [axis in (2, 3) if original.input.layout == "NCHW" else axis in (1, 2) for axis in range(4)]
        nodes = [node for node in nodes if _is_over_all(node, growth)]
    names = Counter(f"attention ({node.op_type})" if node.op_type in PRODUCTS else node.op_type for node in nodes)
    return ", ".join(f"{name}, {count} place{'s' * (count > 1)}" for name, count in names.most_common(MOST_NAMED))


def _is_over_all(node: onnx.NodeProto, growth: Mapping[str, Sequence[bool]]) -> bool:
    """Whether a node computes over an axis that grows. growth: for each tensor, which of its axes do."""
    if node.op_type not in NORMALISING:
        return max(sum(growth.get(name, ())) for name in node.input) > sum(growth.get(node.output[0], ()))
    first_axis = next((each.i for each in node.attribute if each.name == "axis"), NORMALISING[node.op_type])
    return any(growth.get(node.input[0], ())[first_axis:])
