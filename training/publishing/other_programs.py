"""Files with which other programs run a network of ours. This module needs no PyTorch, and onnx only to write one.

Deepness, a plug-in of QGIS, runs square tiles of an orthophoto. The metadata of its form is that of its documentation,
"Creators: add metadata to model".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from common.whole_file import write_file
from model.inference.runtimes.openvino_runtime import Export, read_export
from model.weights_file import EXPORT_SUFFIXES

if TYPE_CHECKING:
    import onnx

SUFFIXES = {"deepness": ".deepness.onnx", "onnxruntime": ".run.py"}
INPUT, OUTPUT = "image", "probabilities"
OPSET = 13  # the first whose Softmax has an axis
OVERLAP_PERCENT = 25
THRESHOLD = 0.0  # of a probability, below which Deepness sets the background: the likeliest class counts
SMALL_SEGMENT = 0  # pixels; Deepness removes smaller segments


def write_deepness(path: Path, target: Path) -> None:
    """Writes the network of a float32 export in the form that Deepness runs.

    Its input is float32 (1, 3, side, side), from 0 to 1 in RGB; its output is float32 probabilities (1, classes, side, side).
    side: the smaller side of the network's tile, in pixels. Raises `ValueError` for operators that are older than `OPSET`.
    """
    import onnx
    import onnx.checker
    import onnx.inliner

    export, model = read_export(path), onnx.inliner.inline_local_functions(onnx.load(path))
    if export.manifest.preprocessing.is_multispectral:
        raise ValueError(f"{path} sees {export.manifest.preprocessing.channels} bands, and Deepness' form has three")
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < OPSET:
        raise ValueError(f"{path} has operators of version {opset}, and Deepness' form needs {OPSET}; export it anew")
    deepness_model = _wrapped(model, export)
    onnx.checker.check_model(deepness_model)
    onnx.helper.set_model_props(deepness_model, _metadata(export))
    write_file(target, deepness_model.SerializeToString(), follow=False)


def tile_side(export: Export) -> int:
    """The side of the tiles, in pixels."""
    preprocessing = export.manifest.preprocessing
    return min(export.manifest.largest_tile or preprocessing.tile)


def _metadata(export: Export) -> dict[str, str]:
    names = dict(enumerate(export.manifest.labels.names))
    values: dict[str, object] = {
        "model_type": "Segmentor",
        "class_names": names,
        "tile_size": tile_side(export),
        "tiles_overlap": OVERLAP_PERCENT,
        "seg_thresh": THRESHOLD,
        "seg_small_segment": SMALL_SEGMENT,
        "standardization_mean": [0.0] * 3,
        "standardization_std": [1.0] * 3,
    }
    if gsd := export.manifest.preprocessing.gsd:
        values["resolution"] = round(100 * gsd, 6)  # in centimetres a pixel; without it, Deepness asks
    return {name: json.dumps(value) for name, value in values.items()}


def _wrapped(model: onnx.ModelProto, export: Export) -> onnx.ModelProto:
    """The model between nodes that make uint8 pixels of the input, and probabilities at full size of the logits."""
    import onnx.compose
    from onnx import TensorProto, helper, numpy_helper

    graph = onnx.compose.add_prefix(model, "network/").graph
    side, classes = tile_side(export), len(export.manifest.labels)
    constants: dict[str, npt.NDArray[Any]] = {
        "most": np.array(255, np.float32),
        "inverse_temperature": np.array(1 / (export.manifest.temperature() or 1.0), np.float32),
        "sizes": np.array([1, classes, side, side], np.int64),
        "none": np.array([], np.float32),
    }
    grid = "asymmetric" if export.grid == "corner" else "half_pixel"
    node = helper.make_node
    nodes = [
        node("Mul", [INPUT, "most"], ["scaled"]),
        node("Round", ["scaled"], ["rounded"]),
        node("Cast", ["rounded"], ["bytes"], to=TensorProto.UINT8),
        node("Transpose", ["bytes"], [graph.input[0].name], perm=[0, 2, 3, 1]),
        *graph.node,
        node("Mul", [graph.output[0].name, "inverse_temperature"], ["tempered"]),
        node("Resize", ["tempered", "none", "none", "sizes"], ["resized"], mode="linear", coordinate_transformation_mode=grid),
        node("Softmax", ["resized"], [OUTPUT], axis=1),
    ]
    outer = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, classes, side, side])],
        [*graph.initializer, *(numpy_helper.from_array(values, name) for name, values in constants.items())],
    )
    outer.sparse_initializer.extend(graph.sparse_initializer)
    result = helper.make_model(outer, opset_imports=list(model.opset_import))
    result.ir_version = model.ir_version
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    return result


def program_paths(path: Path, programs: Sequence[str]) -> list[Path]:
    """The files beside a float32 export that `write_programs` writes."""
    stem = path.name.removesuffix(EXPORT_SUFFIXES["float32"])
    return [path.with_name(stem + SUFFIXES[program]) for program in programs]


def write_programs(path: Path, programs: Sequence[str]) -> list[Path]:
    """Writes, beside a float32 export, what each of the programs needs: `deepness`, `onnxruntime`. Gives the paths.

    Raises as `write_deepness`.
    """
    targets = program_paths(path, programs)
    for program, target in zip(programs, targets, strict=True):
        if program == "deepness":
            write_deepness(path, target)
        else:
            write_file(target, (files("training.publishing") / "run_onnx.py.txt").read_bytes(), follow=False)
    return targets
