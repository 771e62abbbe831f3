"""Mask classification: queries, each with a score for each class and a mask, become a map of classes.

The rule is that of MaskFormer (Cheng et al. 2021, section 3.4): the classes' probabilities of each query, without that of no
object, times the sigmoid of its mask, summed over the queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto
from PIL import Image

from training.converting.graph import with_output
from training.converting.samples import Array
from training.converting.wrapping import Nodes

LEAST_SUM = 1e-30  # so that logarithms are finite; where no mask is, sums are small, and still say the class


@dataclass(frozen=True)
class Queries:
    """Two outputs of a network: (1, queries, classes + 1), whose last column is no object, and (1, queries, rows, columns).

    scores, masks: their names. stride: pixels of a cell of the masks. enlarges_sums: whether the sums are interpolated to the
    pixels, instead of the masks before their sigmoid.
    """

    scores: str
    masks: str
    classes: int
    stride: int
    enlarges_sums: bool

    @property
    def name(self) -> str:
        """The name of the sums, as an output."""
        return f"{self.scores} x {self.masks}"

    def describe(self) -> str:
        where = "after" if self.enlarges_sums else "before"
        enlarged = "" if self.stride == 1 else f", enlarged {self.stride} times {where} their sigmoid"
        return f"{self.scores} ({self.classes} classes and none) times {self.masks} of the same queries{enlarged}"

    def with_sums(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The network's outputs, by name, and the sums (1, classes, height, width)."""
        scores, masks = (outputs[name][0].astype(np.float32) for name in (self.scores, self.masks))
        powers = np.exp(scores - scores.max(1, keepdims=True))
        shares = (powers / powers.sum(1, keepdims=True))[:, :-1]
        masks = masks if self.enlarges_sums else self._enlarged(masks)
        sums = np.tensordot(shares.T, np.exp(-np.logaddexp(0, -masks)), 1)
        sums = self._enlarged(sums) if self.enlarges_sums else sums
        return {**outputs, self.name: np.maximum(sums, np.float32(LEAST_SUM))[None]}

    def added_to(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A copy of the model that also gives the sums."""
        nodes = Nodes(f"{self.name}/")
        scores, masks = (nodes.add("Cast", name, to=TensorProto.FLOAT) for name in (self.scores, self.masks))
        columns = (nodes.constant([number], np.int64) for number in (0, self.classes, 2))  # first, last, axis
        shares = nodes.add("Slice", nodes.add("Softmax", scores, axis=2), *columns)
        scales = nodes.constant([1, 1, self.stride, self.stride], np.float32)
        resize = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        masks = masks if self.enlarges_sums else nodes.add("Resize", masks, "", scales, **resize)
        sums = nodes.add("Einsum", shares, nodes.add("Sigmoid", masks), equation="bqc,bqhw->bchw")
        sums = nodes.add("Resize", sums, "", scales, **resize) if self.enlarges_sums else sums
        nodes.add("Max", sums, nodes.constant(LEAST_SUM, np.float32), output=self.name)
        result = with_output(model, self.name)
        result.graph.node.extend(nodes.nodes)
        result.graph.initializer.extend(nodes.constants)
        return result

    def _enlarged(self, maps: Array) -> Array:
        """The maps (n, rows, columns), interpolated as PyTorch does with `align_corners=False`."""
        size = maps.shape[2] * self.stride, maps.shape[1] * self.stride
        return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BILINEAR)) for each in maps])
