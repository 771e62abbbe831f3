"""Mask classification: queries, each with a score for each class and a mask, become a map of classes.

They are found among a network's outputs by all their shapes, by which networks that find objects are refused. The rule is that
of MaskFormer (Cheng et al. 2021, section 3.4): the classes' probabilities of each query, without that of no object, times the
sigmoid of its mask, summed over the queries.
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

ROWS = (1, 4, 5, 6, 7)  # numbers of an object: its score; its box, with a score, a class, and its image
SHAPES = "scores (1, queries, classes + 1) and masks (1, queries, rows, columns)"
MASK_MODELS = ("maskformer", "mask2former", "oneformer", "eomt")  # in `transformers`' types of models
ENLARGING_SUMS = ("maskformer", "oneformer", "pixel_level_module")  # types, and a part of their tensors' names
PART_OF_MASKS = "mask_predictor"  # of the names of Mask2Former's tensors, which have `pixel_level_module` as well
EXPECTED = f"semantic segmentation is a map (1, classes, rows, columns), or {SHAPES}"
Pair = tuple[str, str]
"""The names of the outputs with the scores and with the masks of the same queries."""
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
        scale_text = "" if self.stride == 1 else f", enlarged {self.stride} times {where} their sigmoid"
        return f"{self.scores} ({self.classes} classes and none) times {self.masks} of the same queries{scale_text}"

    def with_sums(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The network's outputs, by name, and the sums (1, classes, height, width), for the proof.

        ONNX Runtime's sigmoid is 0 far below 0, where sums are small, and still say the class: it would name other classes.
        """
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
        return nodes.added_to(model, self.name)

    def _enlarged(self, maps: Array) -> Array:
        """The maps (n, rows, columns), interpolated as PyTorch does with `align_corners=False`."""
        size = maps.shape[2] * self.stride, maps.shape[1] * self.stride
        return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BILINEAR)) for each in maps])


def find_queries(
    first: Sample, model: onnx.ModelProto, model_type: str, output: str | None, kind: OutputKind | None, classes: int | None
) -> Queries | None:
    """The scores and masks that a network gives; None for one whose output is a map of classes.

    model_type: as `config.json` says it. output, kind: as the user says them. classes: how many are named; None without names.

    Raises `ConversionError` where several outputs may be meant, for another number of classes, and for a network that finds
    objects.
    """
    pairs = _candidates(first, output, kind)
    matches = [pair for pair, number in pairs.items() if classes in (None, number)]
    maps = [] if output else _maps_of_classes(first, classes, matches)
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
    names_of_type = model_type or " ".join(all_names(model.graph))  # that `transformers` gives to tensors
    enlarges_sums = any(name in names_of_type for name in ENLARGING_SUMS) and PART_OF_MASKS not in names_of_type
    queries = Queries(scores, masks, pairs[pair], first.maps[masks][1], enlarges_sums)
    _refuse_objects(first, queries, output)
    for name in pair:
        if ((first.values[name] >= 0) & (first.values[name] <= 1)).all():
            raise ConversionError(f"{name} holds values from 0 to 1: export scores before softmax, masks before their sigmoid")
    return queries


def _candidates(first: Sample, output: str | None, kind: OutputKind | None) -> dict[Pair, int]:
    """The pairs that may be meant; none if the user names a single output, or says what kind of map it is."""
    if kind is not None or output in first.values:
        return {}
    names = None if output is None else tuple(output.split(","))
    return {pair: number for pair, number in _pairs(first).items() if pair == names or not (names or is_auxiliary(*pair))}


def _maps_of_classes(first: Sample, classes: int | None, pairs: Sequence[Pair]) -> list[str]:
    """The maps with a channel for each named class, without the masks of these pairs."""
    masks = [masks for _, masks in pairs]
    return [name for name in first.maps if first.channels(name) == classes and not is_auxiliary(name) and name not in masks]


def _pairs(first: Sample) -> dict[Pair, int]:
    """The outputs that may be the scores and the masks of the same queries, by their shapes, with the number of classes.

    Scores may be negative; the sides of boxes are not.
    """
    return {
        (scores, masks): array.shape[2] - 1
        for scores, array in first.values.items()
        for masks, (layout, _) in first.maps.items()
        if layout == "NCHW" and array.ndim == 3 and array.shape[:2] == first.values[masks].shape[:2]
        if np.issubdtype(array.dtype, np.floating) and ((array < 0).any() or array.shape[2] not in ROWS)
    }


def _refuse_objects(first: Sample, queries: Queries | None, output: str | None) -> None:
    """Raises `ConversionError` for an output that is no map: boxes, prototypes' coefficients and scores of masks are such.

    Maps, scores of queries, and outputs of fewer than two axes are accepted. With queries, so are outputs of three axes, and
    all that the user did not name, unless their last axis is as long as a box (`ROWS`). Without queries, everything is accepted
    if the user names a map of the image's own size.
    """
    whole = [name for name, (_, stride) in first.maps.items() if stride == 1 and not queries]
    answers, columns = ([f"{queries.scores},{queries.masks}"], queries.classes + 1) if queries else (whole, None)
    scores = [name for name, _ in _pairs(first) if (output and not queries) or first.values[name].shape[2] == columns]
    for name, array in first.values.items():
        is_known = output in whole or array.ndim < 2 or name in (*first.maps, *scores)
        is_feature = is_auxiliary(name) or (queries and (array.ndim == 3 or output))
        if not is_known and (array.shape[-1] in ROWS or not is_feature):
            advice = "".join(f"; if it says nothing of objects: --output {answer}" for answer in answers[:1])
            problem = misfit(name, array, first.size) or (
                f"the output {name} is no map; boxes of objects and scores of their masks are such: {shapes(first.values)}. "
                f"Networks that find objects are not served: {EXPECTED}"
            )
            raise ConversionError(f"{problem}{advice}")
