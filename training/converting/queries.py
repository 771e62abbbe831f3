"""Mask classification: a network gives queries, each with scores of the classes and a mask, and these become a map of classes.

The rule is that of MaskFormer (Cheng et al. 2021, section 3.4). The probabilities of a query's classes, without that of "no
object", are multiplied by the sigmoid of its mask. The products are summed over the queries.
The shapes of all outputs tell which two are the scores and masks of queries. They also tell which networks find objects; these
are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto
from PIL import Image

from common.printable import printable
from model.imported_network import OutputKind
from training.converting.graph import ConversionError, all_names
from training.converting.samples import Array, Sample, is_auxiliary, misfit, shapes
from training.converting.wrapping import Nodes

# how many numbers an output may have for an object: 1 is a score, 4 are a box, 5 also a score, 6 also a class, 7 also an image
OBJECT_NUMBERS = (1, 4, 5, 6, 7)
SHAPES = "scores (1, queries, classes + 1) and masks (1, queries, rows, columns)"
MASK_MODELS = ("maskformer", "mask2former", "oneformer", "eomt")  # parts of model types of `transformers`
# the networks that interpolate the sums: parts of their types, and the last is a part of their tensors' names
ENLARGING_SUMS = ("maskformer", "oneformer", "pixel_level_module")
PART_OF_MASKS = "mask_predictor"  # a part of Mask2Former's names of tensors: it has `pixel_level_module`, but enlarges masks
EXPECTED = f"semantic segmentation is a map (1, classes, rows, columns), or {SHAPES}"
LEAST_SUM = 1e-30  # keeps logarithms finite; it is tiny, because outside of all masks even small sums tell the class
Pair = tuple[str, str]
"""The names of two outputs: the scores and the masks of the same queries."""


@dataclass(frozen=True)
class Queries:
    """Two outputs of a network: the scores and the masks of its queries.

    scores: the name of the scores (1, queries, classes + 1), whose last column is "no object". masks: the name of the masks
    (1, queries, rows, columns). classes: their number, without "no object". stride: pixels along a side of a mask's cell.
    enlarges_sums: whether the sums are interpolated to the pixels; if not, the masks are, before their sigmoid.
    """

    scores: str
    masks: str
    classes: int
    stride: int
    enlarges_sums: bool

    @property
    def name(self) -> str:
        """The name of the sums in `with_sums`, and of the output that `added_to` adds."""
        return f"{self.scores} x {self.masks}"

    def describe(self) -> str:
        where = "after" if self.enlarges_sums else "before"
        scale_text = "" if self.stride == 1 else f", enlarged {self.stride} times {where} their sigmoid"
        return f"{self.scores} ({self.classes} classes and none) times {self.masks} of the same queries{scale_text}"

    def with_sums(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The network's outputs and the sums, by name. The proof of a conversion compares with these sums.

        The sums are float32 (1, classes, height, width). The sigmoid here is exact also for large negative values, for which
        ONNX Runtime's is 0. So small sums outside of all masks stay above 0, and the largest of them tells the class.
        """
        scores, masks = (outputs[name][0].astype(np.float32) for name in (self.scores, self.masks))
        powers = np.exp(scores - scores.max(1, keepdims=True))
        probabilities = (powers / powers.sum(1, keepdims=True))[:, :-1]
        masks = masks if self.enlarges_sums else self._enlarged(masks)
        sums = np.tensordot(probabilities.T, np.exp(-np.logaddexp(0, -masks)), 1)
        sums = self._enlarged(sums) if self.enlarges_sums else sums
        return {**outputs, self.name: np.maximum(sums, np.float32(LEAST_SUM))[None]}

    def added_to(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A copy of the model with one more output: the sums."""
        nodes = Nodes(f"{self.name}/")
        scores, masks = (nodes.add("Cast", name, to=TensorProto.FLOAT) for name in (self.scores, self.masks))
        columns = (nodes.constant([number], np.int64) for number in (0, self.classes, 2))  # start, end, axis
        probabilities = nodes.add("Slice", nodes.add("Softmax", scores, axis=2), *columns)
        scales = nodes.constant([1, 1, self.stride, self.stride], np.float32)
        resize = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        masks = masks if self.enlarges_sums else nodes.add("Resize", masks, "", scales, **resize)
        sums = nodes.add("Einsum", probabilities, nodes.add("Sigmoid", masks), equation="bqc,bqhw->bchw")
        sums = nodes.add("Resize", sums, "", scales, **resize) if self.enlarges_sums else sums
        nodes.add("Max", sums, nodes.constant(LEAST_SUM, np.float32), output=self.name)
        return nodes.added_to(model, self.name)

    def _enlarged(self, maps: Array) -> Array:
        """The maps (n, rows, columns), interpolated to the pixels as PyTorch does with `align_corners=False`."""
        size = maps.shape[2] * self.stride, maps.shape[1] * self.stride
        return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BILINEAR)) for each in maps])


def find_queries(
    first: Sample, model: onnx.ModelProto, model_type: str, output: str | None, kind: OutputKind | None, classes: int | None
) -> Queries | None:
    """The scores and masks of a network's queries; None for a network whose output is a map of classes.

    model_type: from `config.json`. output, kind: from the user. classes: the number of named classes; None without names.

    Raises `ConversionError` if several outputs may be scores and masks, or maps; if the number of classes differs; and for a
    network that finds objects.
    """
    pairs = _candidates(first, output, kind)
    matches = [pair for pair, number in pairs.items() if classes in (None, number)]
    maps = [] if output else _maps_of_classes(first, classes, matches)
    # a map with the right number of classes is likelier the output than scores with another number
    if not pairs or (maps and not matches):
        if output is None and any(name in model_type for name in MASK_MODELS):
            raise ConversionError(f"{printable(model_type, 40)} gives {SHAPES}; the outputs are {shapes(first.values)}")
        _refuse_objects(first, None, output)
        return None
    if not matches:
        (scores, _), number = next(iter(pairs.items()))
        advice = "leave out a name of the last, which is no object" if classes == number + 1 else "each needs one name"
        raise ConversionError(f"{scores} has {number} classes and none for each query, and {classes} are named: {advice}")
    if len(matches) > 1 or maps:
        raise ConversionError(
            f"several outputs may be scores and masks of queries, or maps of classes: {shapes(first.values)}; say which: "
            f"--output {','.join(matches[0])}" + (f" or --output {first.finest(maps)}" if maps else "")
        )
    scores, masks = pair = matches[0]
    # without a type, the names that `transformers` gives to tensors tell it
    type_text = model_type or " ".join(all_names(model.graph))
    enlarges_sums = any(name in type_text for name in ENLARGING_SUMS) and PART_OF_MASKS not in type_text
    queries = Queries(scores, masks, pairs[pair], first.maps[masks][1], enlarges_sums)
    _refuse_objects(first, queries, output)
    for name in pair:
        if ((first.values[name] >= 0) & (first.values[name] <= 1)).all():
            raise ConversionError(f"{name} holds values from 0 to 1: export scores before softmax, masks before their sigmoid")
    return queries


def _candidates(first: Sample, output: str | None, kind: OutputKind | None) -> dict[Pair, int]:
    """The pairs that may be the scores and masks, each with its number of classes.

    Only the pair that the user names in `output`, if the user names two; else all pairs without auxiliary outputs. Empty if the
    user names a single output, or the kind of a map.
    """
    if kind is not None or output in first.values:
        return {}
    names = None if output is None else tuple(output.split(","))
    return {pair: number for pair, number in _pairs(first).items() if pair == names or not (names or is_auxiliary(*pair))}


def _maps_of_classes(first: Sample, classes: int | None, pairs: Sequence[Pair]) -> list[str]:
    """The names of the maps with a channel for each named class, without auxiliary ones and the masks of these pairs."""
    masks = [masks for _, masks in pairs]
    return [name for name in first.maps if first.channels(name) == classes and not is_auxiliary(name) and name not in masks]


def _pairs(first: Sample) -> dict[Pair, int]:
    """The pairs of outputs whose shapes are those of scores and masks of the same queries, each with its number of classes.

    An output whose number of columns is in `OBJECT_NUMBERS` may hold boxes. It counts as scores if some values are negative:
    the sides of boxes are not.
    """
    return {
        (scores, masks): array.shape[2] - 1
        for scores, array in first.values.items()
        for masks, (layout, _) in first.maps.items()
        if layout == "NCHW" and array.ndim == 3 and array.shape[:2] == first.values[masks].shape[:2]
        if np.issubdtype(array.dtype, np.floating) and ((array < 0).any() or array.shape[2] not in OBJECT_NUMBERS)
    }


def _refuse_objects(first: Sample, queries: Queries | None, output: str | None) -> None:
    """Raises `ConversionError` if an output may be of objects: their boxes, their scores, or coefficients of prototypes.

    These outputs are accepted:

    - Maps, and outputs of fewer than two axes.
    - With queries, scores of as many classes as theirs. Without queries, all scores of `_pairs`, if the user named an output.
    - Without queries, all outputs, if the user named a map of the image's own size.
    - Auxiliary outputs whose last axis has no length of `OBJECT_NUMBERS`. With queries, also other outputs with such a last
      axis, if they have three axes, or if the user named the scores and masks.
    """
    full_size_maps = [name for name, (_, stride) in first.maps.items() if stride == 1 and not queries]
    choices, columns = ([f"{queries.scores},{queries.masks}"], queries.classes + 1) if queries else (full_size_maps, None)
    scores = [name for name, _ in _pairs(first) if (output and not queries) or first.values[name].shape[2] == columns]
    for name, array in first.values.items():
        is_accepted = output in full_size_maps or array.ndim < 2 or name in (*first.maps, *scores)
        may_be_feature = is_auxiliary(name) or (queries and (array.ndim == 3 or output))
        if not is_accepted and (array.shape[-1] in OBJECT_NUMBERS or not may_be_feature):
            advice = "".join(f"; if it says nothing of objects: --output {choice}" for choice in choices[:1])
            problem = misfit(name, array, first.size) or (
                f"the output {name} is no map; boxes of objects and scores of their masks are such: {shapes(first.values)}. "
                f"Networks that find objects are not served: {EXPECTED}"
            )
            raise ConversionError(f"{problem}{advice}")
