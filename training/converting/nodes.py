"""ONNX nodes of ours, which are put before and behind a network of another program."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper


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

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        name = f"{self._prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name
