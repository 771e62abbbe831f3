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

from model.imported_network import OutputKind
from model.printable import printable
from training.converting.graph import ConversionError, all_names, with_output
from training.converting.nodes import Nodes
from training.converting.pixels import HUGGING_FACE_CONFIG
from training.converting.samples import Array, Sample, is_auxiliary, shapes

SHAPES = "scores (1, queries, classes + 1) and masks (1, queries, rows, columns)"
MASK_MODELS = ("maskformer", "mask2former", "oneformer", "eomt")  # in `transformers`' types of models
ENLARGING_SUMS = ("maskformer", "oneformer")  # those that enlarge the sums; the others, and other libraries, enlarge the masks
PARTS_OF_SUMS, PART_OF_MASKS = "pixel_level_module", "mask_predictor"  # in names of tensors: of these types, of Mask2Former
LEAST_SUM = 1e-30  # so that logarithms are finite; where no mask is, sums are small, and still say the class


@dataclass(frozen=True)
class Queries:
    """Two outputs of a network: (1, queries, classes + 1), whose last column is no object, and (1, queries, rows, columns).

    scores, masks: their names. stride: pixels of a cell of the masks. enlarges_sums: whether the sums are interpolated to the
    pixels, instead of the masks before their sigmoid.
    """

    scores: str
    masks: str
    number: int
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
        return f"{self.number} queries, {self.classes} classes and none: {self.scores} times {self.masks}{enlarged}"

    def sums(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The sums (1, classes, height, width), by their name, of what the network gives."""
        scores, masks = (outputs[name][0].astype(np.float32) for name in (self.scores, self.masks))
        powers = np.exp(scores - scores.max(1, keepdims=True))
        shares = (powers / powers.sum(1, keepdims=True))[:, :-1]
        if not self.enlarges_sums:
            masks = self._enlarged(masks)
        sums = np.tensordot(shares.T, np.exp(-np.logaddexp(0, -masks)), 1)
        sums = self._enlarged(sums) if self.enlarges_sums else sums
        return {self.name: np.maximum(sums, np.float32(LEAST_SUM))[None]}

    def added_to(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A copy of the model that also gives the sums."""
        nodes = Nodes(f"{self.name}/")
        scores, masks = (nodes.add("Cast", name, to=TensorProto.FLOAT) for name in (self.scores, self.masks))
        first, last, axis = (nodes.constant([number], np.int64) for number in (0, self.classes, 2))
        shares = nodes.add("Slice", nodes.add("Softmax", scores, axis=2), first, last, axis)
        scales = nodes.constant([1, 1, self.stride, self.stride], np.float32)

        def enlarged(values: str) -> str:
            mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
            return values if self.stride == 1 else nodes.add("Resize", values, "", scales, **mode)

        if not self.enlarges_sums:
            masks = enlarged(masks)
        sums = nodes.add("Einsum", shares, nodes.add("Sigmoid", masks), equation="bqc,bqhw->bchw")
        sums = enlarged(sums) if self.enlarges_sums else sums
        nodes.add("Max", sums, nodes.constant(LEAST_SUM, np.float32), output=self.name)
        result = with_output(model, self.name)
        result.graph.node.extend(nodes.nodes)
        result.graph.initializer.extend(nodes.constants)
        return result

    def _enlarged(self, maps: Array) -> Array:
        """The maps (n, rows, columns), interpolated as PyTorch does with `align_corners=False`."""
        size = maps.shape[2] * self.stride, maps.shape[1] * self.stride
        return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BILINEAR)) for each in maps])


def enlarges_sums(model_type: str, model: onnx.ModelProto) -> bool:
    """Whether the sums are enlarged: by the type in `config.json`, else by names that `transformers` gives to tensors."""
    if model_type:
        return any(name in model_type for name in ENLARGING_SUMS)
    names = all_names(model.graph)
    return any(PARTS_OF_SUMS in name for name in names) and not any(PART_OF_MASKS in name for name in names)


def pairs(first: Sample) -> list[tuple[str, str]]:
    """The outputs that may be the scores and the masks of the same queries, by their shapes."""
    return [
        (scores, masks)
        for scores, array in first.values.items()
        for masks, (layout, _) in first.maps.items()
        if array.ndim == 3 and array.shape[2] > 1 and np.issubdtype(array.dtype, np.floating)
        if layout == "NCHW" and array.shape[:2] == first.values[masks].shape[:2]
    ]


def find_queries(
    first: Sample, model: onnx.ModelProto, model_type: str, output: str | None, kind: OutputKind | None, classes: int | None
) -> Queries | None:
    """The scores and masks that a network gives; None for one whose output is a map of classes.

    model_type: as `config.json` says it. output, kind: as the user says them. classes: how many are named; None without names.

    Raises `ConversionError` where several outputs may be meant, and for another number of classes.
    """
    candidates = pairs(first)
    names = output.split(",") if output and output not in first.values else []
    if len(names) == 2:
        candidates = [pair for pair in candidates if pair == tuple(names)]
        if not candidates:
            raise ConversionError(f"--output {output} must name {SHAPES}; the outputs are {shapes(first.values)}")
    elif output is not None or kind not in (None, "masks"):
        candidates = []
    else:
        candidates = [pair for pair in candidates if not any(map(is_auxiliary, pair))]
    fitting = [pair for pair in candidates if classes in (None, _columns(first, pair) - 1)]
    masks = [name for _, name in fitting]
    maps = [name for name in first.maps if name not in masks and not is_auxiliary(name) and _channels(first, name) == classes]
    if names or kind:
        maps = []
    if not candidates or (maps and not fitting):
        if kind == "masks" or (output is None and any(name in model_type for name in MASK_MODELS)):
            asker = "--kind masks" if kind else f"{HUGGING_FACE_CONFIG} says that it is a {printable(model_type, 40)}, which"
            raise ConversionError(f"{asker} needs {SHAPES}; the outputs are {shapes(first.values)}")
        return None
    if not fitting:
        raise ConversionError(_wrong_number(candidates[0][0], _columns(first, candidates[0]), classes or 0))
    if len(fitting) > 1 or maps:
        raise ConversionError(
            f"several outputs may be scores and masks of queries, or maps of classes: {shapes(first.values)}; say which: "
            f"--output {','.join(fitting[0])}" + "".join(f" or --output {name}" for name in maps[:1])
        )
    for name in fitting[0]:
        if first.values[name].min() >= 0 and first.values[name].max() <= 1:
            raise ConversionError(
                f"the output {name} holds values from 0 to 1: export scores before their softmax, masks before their sigmoid"
            )
    number, stride = first.values[fitting[0][0]].shape[1], first.maps[fitting[0][1]][1]
    columns = _columns(first, fitting[0])
    return Queries(*fitting[0], number, columns - 1, stride, stride > 1 and enlarges_sums(model_type, model))


def _columns(first: Sample, pair: tuple[str, str]) -> int:
    return int(first.values[pair[0]].shape[2])


def _channels(first: Sample, name: str) -> int:
    layout = first.maps[name][0]
    return 1 if layout == "NHW" else int(first.values[name].shape[1 if layout == "NCHW" else 3])


def _wrong_number(name: str, columns: int, classes: int) -> str:
    advice = "leave out a name of the last, which is no object" if columns == classes else "each needs one name"
    return f"the output {name} scores {columns - 1} classes and none for each query, and {classes} are named: {advice}"
