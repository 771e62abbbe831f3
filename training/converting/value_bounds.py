"""What made an output's values, and their bounds: found by going back in the graph, and running what follows.

A few pictures of noise show only some values. What follows a sigmoid or a convolution shows all, when run on their extremes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from training.converting.graph import PASSING, ConversionError
from training.converting.samples import Original, Sample

Interval = tuple[float, float]
LARGE, MOST_BOUND = 1e30, 1e6  # a score that saturates whatever can be, and still can be interpolated; of values with bounds
OF_IDS = ("ArgMax", "TopK", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or")
LINEAR = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "BatchNormalization", "GroupNormalization", "InstanceNormalization",
    "LayerNormalization",
)  # fmt: skip
EXTREMES: dict[str, Interval] = {
    **dict.fromkeys(OF_IDS, (0, 1)),
    **dict.fromkeys(LINEAR, (-LARGE, LARGE)),
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), (0, 1)),
    "Tanh": (-1, 1),
}
"""The extreme results of operators that make scores, shares or ids."""
ROUNDING = {"Round", "Floor", "Ceil"}


@dataclass(frozen=True)
class ValueBounds:
    """operators: that made the scores. low, high: the output at their extremes; equal where the graph does not say them.

    are_ids: class ids made it. are_linear: linear operators alone did. is_rounded: it is rounded afterwards.
    """

    operators: str
    low: float
    high: float
    are_ids: bool
    are_linear: bool
    is_rounded: bool

    @property
    def are_logits(self) -> bool:
        """Whether they are scores without bounds, or such whose outliers are cut off."""
        return self.low < -MOST_BOUND or (self.are_linear and self.low < 0)

    @property
    def are_bounded(self) -> bool:
        return self.low < self.high < MOST_BOUND and not self.are_logits


def find_bounds(original: Original, first: Sample, output: str) -> ValueBounds:
    """What made this output of a network. first: what the network gives for a picture of noise."""
    makers, operators = _makers(original.model, output)
    kinds = sorted(set(makers.values()))
    try:
        low, high = _extremes(original, first, output, makers) if EXTREMES.keys() >= set(kinds) else (0, 0)
    except ConversionError:  # what follows does not take such values: the graph says no bounds
        low = high = 0
    are_ids, are_linear = any(kind in OF_IDS for kind in kinds), all(kind in LINEAR for kind in kinds)
    return ValueBounds(", ".join(kinds), low, high, are_ids, are_linear, is_rounded=not operators.isdisjoint(ROUNDING))


def _makers(model: onnx.ModelProto, output: str) -> tuple[dict[str, str], set[str]]:
    """The operators that made a tensor's values, by the names of their results; and the operators between them and it."""
    by_output = {name: node for node in model.graph.node for name in node.output}
    names, makers, operators = [output], dict[str, str](), set[str]()
    former = {"", *(tensor.name for tensor in model.graph.initializer)}
    while names:
        name = names.pop()
        node = by_output.get(name)
        if name not in former and (node is None or node.op_type == "If" or node.op_type in EXTREMES):
            makers[name] = "nothing" if node is None else node.op_type
        elif name not in former and node is not None and node.op_type != "Shape":
            operators.add(node.op_type)
            names += node.input[:1] if node.op_type in PASSING and node.op_type != "Concat" else node.input
        former.add(name)
    return makers, operators


def _extremes(original: Original, first: Sample, output: str, makers: Mapping[str, str]) -> Interval:
    """The output's usual values where all makers give their least, and their most; equal ones where that is no number."""
    values, results = first.of(original.giving(*makers)).values, []
    for end in (0, 1):
        model = onnx.ModelProto()
        model.CopyFrom(original.model)
        for node in model.graph.node:
            node.output[:] = [f"{name}/replaced" if name in makers else name for name in node.output]
        tensors = [numpy_helper.from_array(np.full_like(values[name], EXTREMES[makers[name]][end]), name) for name in makers]
        model.graph.initializer.extend(tensors)
        results.append(round(float(np.median(first.of(original.of(model)).values[output].astype(np.float32))), 4))
    return (min(results), max(results)) if np.isfinite(results).all() else (0, 0)
