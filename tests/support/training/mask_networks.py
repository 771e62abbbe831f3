"""Small networks with several outputs, made of ONNX nodes: class scores and masks of queries, and what detectors give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SCORES, MASKS = "class_queries_logits", "masks_queries_logits"
SIDES = (96, 128)


def network_of_outputs(
    path: Path,
    maps: Mapping[str, tuple[int, int]],
    others: Mapping[str, Sequence[int]] | None = None,
    *,
    scores: Mapping[str, tuple[int, int]] | None = None,
    sides: Sequence[int | str] = SIDES,
    dtype: int = TensorProto.FLOAT,
    whole_numbers: Sequence[str] = (),
    share: Sequence[str] = (),
    below: float = 0.0,
) -> Path:
    """Writes a network to `path` that takes one image.

    maps: (channels, stride) of outputs (1, channels, rows, columns), large and smooth as trained masks are. scores: (queries,
    columns) of outputs (1, queries, columns), which depend on the image's mean. others: shapes of outputs of fixed numbers, of
    whole ones in `whole_numbers`. share: outputs that end in a sigmoid. below: by how much all maps are lower.
    """
    random = np.random.default_rng(1)
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    outputs: dict[str, int] = {}

    def add(operator: str, *inputs: str, **attributes: object) -> str:
        name = f"tensor_{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(values: np.ndarray) -> str:
        name = f"constant_{len(constants)}"
        constants[name] = values
        return name

    def give(last: str, name: str) -> None:
        if name in share:
            last = add("Sigmoid", last)
        if name in whole_numbers:
            last = add("Cast", last, to=TensorProto.INT64)
        elif dtype != TensorProto.FLOAT:
            last = add("Cast", last, to=dtype)
        nodes.append(helper.make_node("Identity", [last], [name]))
        outputs[name] = TensorProto.INT64 if name in whole_numbers else dtype

    image = "image" if dtype == TensorProto.FLOAT else add("Cast", "image", to=TensorProto.FLOAT)
    mean = add("GlobalAveragePool", image)
    for name, (channels, stride) in maps.items():
        kernel = constant(random.normal(size=(channels, 3, 2 * stride + 1, 2 * stride + 1)).astype(np.float32) * 2 / stride)
        bias = constant((random.normal(size=channels) - below).astype(np.float32))
        give(add("Conv", image, kernel, bias, strides=[stride] * 2, pads=[stride] * 4), name)
    for name, (queries, columns) in (scores or {}).items():
        kernel = constant(random.normal(size=(queries * columns, 3, 1, 1)).astype(np.float32))
        bias = constant(random.normal(size=queries * columns).astype(np.float32) * 3)
        give(add("Reshape", add("Conv", mean, kernel, bias), constant(np.array([1, queries, columns]))), name)
    for name, shape in (others or {}).items():
        give(constant(random.uniform(0, 90, shape).astype(np.float32)), name)
    graph = helper.make_graph(
        nodes,
        "several",
        [helper.make_tensor_value_info("image", dtype, [1, 3, *sides])],
        [helper.make_tensor_value_info(name, element, None) for name, element in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def mask_network(
    path: Path,
    *,
    classes: int = 3,
    queries: int = 7,
    stride: int = 4,
    maps: Mapping[str, tuple[int, int]] | None = None,
    scores: Mapping[str, tuple[int, int]] | None = None,
    **others: Any,
) -> Path:
    """Writes a network of mask classification, with the outputs of Hugging Face's, and more of them.

    others: as `network_of_outputs` takes them.
    """
    all_maps, all_scores = {MASKS: (queries, stride), **(maps or {})}, {SCORES: (queries, classes + 1), **(scores or {})}
    return network_of_outputs(path, all_maps, scores=all_scores, **others)
