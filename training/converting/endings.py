"""Where the converted file ends: at an output of the network, at the scores of its ids, or before its last resize."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
import onnx
from onnx import numpy_helper

from model.inference.tiling import WHOLE
from training.converting.graph import ORDERING, TRANSFORM, ConversionError, before_resize, ends_in_resize, origin, trace
from training.converting.outputs import NetworkOutput, channels_first, probe
from training.converting.pixels import model_type
from training.converting.queries import find_queries
from training.converting.request import ConversionRequest
from training.converting.samples import Array, Original, Sample, sample
from training.converting.wrapping import UNIT, Nodes

KEEPING = ("Cast", "Identity", "Squeeze", "Unsqueeze", "Transpose", "Reshape")
"""Operators that keep a map of ids as it is, but for its type and its axes."""
CHOOSING = ("ArgMax", "TopK")
SIGMOIDS = ("Sigmoid", "HardSigmoid")
LEAST_EQUAL = 0.999  # of the ids; rounding in a softmax may change single ones
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not")


@dataclass(frozen=True)
class Ending:
    """What the converted file ends with.

    original: gives what the file is compared with. model: gives it as an output. whole: the network's own output, if the file
    ends before it; else None. classes: their number; None if nothing says it.
    """

    original: Original
    model: onnx.ModelProto
    output: NetworkOutput
    whole: NetworkOutput | None
    classes: int | None


def find_ending(request: ConversionRequest, original: Original, classes: int | None, tell: Callable[[str], None]) -> Ending:
    """Where the converted file ends: at an output, at the scores of ids, or before a resize. classes: how many are named.

    Of masks of queries, `original` gives their sums from now on.
    """
    first, library_type = sample(original, original.input.sides), model_type(request.source)
    name, kind = request.output, request.kind
    grid = request.grid or "half_pixel"  # as PyTorch's and transformers' interpolation with align_corners=False
    if queries := find_queries(first, original.model, library_type, name, kind, classes):
        tell(f"masks   {queries.describe()}")
        original.model, original.derive = queries.added_to(original.model), queries.with_sums
        first = replace(first, values=queries.with_sums(first.values))
        name, kind = queries.name, "masks"
    whole = probe(original, first, name=name, kind=kind, grid=grid)
    tell(f"output  {whole.describe()}")
    output = _scores(original, first, whole, tell) if whole.kind == "class_ids" and kind is None else whole
    if request.before_resize and whole.stride != 1:
        raise ConversionError(
            f"--before-resize needs an output of the image's size; {whole.name} has a cell for {whole.stride}x{whole.stride} "
            "pixels: leave it out"
        )
    model, is_placed = original.model, request.grid is not None or bool(library_type)
    is_cut = output is not whole and whole.stride == 1 and request.tile != WHOLE and ends_in_resize(model, output.name)
    if request.before_resize or is_cut:
        name, grid = before_resize(model, output.name)
        kind = output.kind if output.kind.startswith("binary") else kind
        shorter, is_placed = original.giving(name), True
        model, output = shorter.model, probe(shorter, first.of(shorter), name=name, kind=kind, grid=grid)
        tell(f"cut     {output.describe()}")
    if output.stride > 1 and not is_placed:
        tell(
            "        where its cells lie is a choice, which the proof cannot judge: in the middle of their pixels, as "
            "PyTorch's align_corners=False; --grid corner puts them on the first"
        )
    number = _number_of_ids(original, first, output.name) if output.kind == "class_ids" else output.classes
    if UNIT % output.stride and request.tile != WHOLE:
        model, output = _with_finer_cells(model, output)
        tell(f"cells   {output.describe()}: interpolated, so that tiles share whole cells")
        if whole.stride > 1:
            original, whole = original.of(model), output
    return Ending(original, model, output, None if output is whole else whole, number)


def _with_finer_cells(model: onnx.ModelProto, output: NetworkOutput) -> tuple[onnx.ModelProto, NetworkOutput]:
    """The model with an output more: the same map in cells whose side divides those of tiles. Ids are repeated."""
    nodes, stride = Nodes(f"{output.name}/cells/"), gcd(output.stride, UNIT)
    values, scale = nodes.channels_first(output.name, output.layout), output.stride // stride
    scales = nodes.constant([1, 1, scale, scale], np.float32)
    place = {TRANSFORM: "asymmetric" if output.grid == "corner" else "half_pixel"}
    mode = "nearest" if output.kind == "class_ids" else "linear"
    name = nodes.add("Resize", values, "", scales, mode=mode, nearest_mode="floor", **place)
    return nodes.added_to(model, name), replace(output, name=name, layout="NCHW", stride=stride)


def _scores(original: Original, first: Sample, ids: NetworkOutput, tell: Callable[[str], None]) -> NetworkOutput:
    """The scores whose largest ones these ids are, or the ids themselves where that is not sure. Tells which, and why."""
    try:
        name = scores_name(original.model, ids.name)
        both = original.giving(name)
        first_of_both = first.of(both)
        scores = probe(both, first_of_both, name=name, kind=None, grid=ids.grid)
        check_ids(first_of_both.values, ids, scores)
    except ConversionError as error:
        tell(f"        without scores, and so without confidence: the ids stay ids, since {error}")
        return ids
    tell(f"scores  {scores.describe()}; the ids are those of the largest; --kind class_ids serves the ids alone")
    return scores


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
    name, _ = trace(model, node.input[0], ORDERING)
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


def _number_of_ids(original: Original, first: Sample, output: str) -> int | None:
    """The number of channels of which an output's ids are the largest; None if nothing says it."""
    node = origin(original.model, output)
    if node is None or node.op_type not in CHOOSING:
        return 2 if node is not None and node.op_type in COMPARISONS else None
    name, default = node.input[0], 0 if node.op_type == "ArgMax" else -1
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), default)
    return int(first.of(original.giving(name)).values[name].shape[axis])
