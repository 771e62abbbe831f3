"""Small networks as other programs export them, made of ONNX nodes: a strided convolution, scores, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IMAGENET = "--mean=0.485,0.456,0.406", "--std=0.229,0.224,0.225"


def foreign_network(
    path: Path,
    *,
    classes: int = 3,
    stride: int = 1,
    ending: str = "logits",
    layout: str = "NCHW",
    sides: Sequence[int | str] = ("height", "width"),
    dtype: int = TensorProto.FLOAT,
    resized: bool = False,
    transform: str = "pytorch_half_pixel",
    multiple: int = 0,
    opset: int = 17,
    second: str = "",
    width: int = 8,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Writes a network to `path`: a convolution of 7x7 at `stride`, a ReLU, a convolution of 1x1 to the classes.

    ending: `logits`, `softmax`, `sigmoid`, `argmax`, `topk`, `constant`, or `argmax, ` and how it goes on: `float`;
    `axes` changes type and axes, `last` takes the last of equal ones, `remapped` gives other ids, and `softmax` or `sigmoid` is
    before it. resized: the logits are then resized to the image's size. multiple: sides that are no multiples of it fail.
    second: the name of another output, of the same values. width: channels between the two convolutions.
    """
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    constants = {
        "kernel": random.normal(size=(width, 3, 7, 7)).astype(np.float32) / 12,
        "scores": random.normal(size=(classes, width, 1, 1)).astype(np.float32),
        "bias": random.normal(size=classes).astype(np.float32) / 4,
        "scales": np.array([1, 1, stride, stride], np.float32),
    }
    last = "image"

    def add(operator: str, *inputs: str, name: str = "", **attributes: object) -> None:
        nonlocal last
        last = name or f"tensor_{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [last], **attributes))

    if dtype != TensorProto.FLOAT:
        add("Cast", last, to=TensorProto.FLOAT)
    if dtype == TensorProto.UINT8:
        constants["byte"] = np.array(1 / 255, np.float32)
        add("Mul", last, "byte")
    if layout == "NHWC":
        add("Transpose", last, perm=[0, 3, 1, 2])
    if multiple:  # a fold that needs sides of this multiple, and its opposite
        add("SpaceToDepth", last, blocksize=multiple)
        add("DepthToSpace", last, blocksize=multiple, mode="DCR")
    add("Conv", last, "kernel", strides=[stride, stride], pads=[3] * 4)
    add("Relu", last)
    add("Conv", last, "scores", "bias", name="class_scores")
    if resized:
        if opset < 11:
            add("Resize", last, "scales", mode="linear")
        else:
            add("Resize", last, "", "scales", mode="linear", coordinate_transformation_mode=transform)
    if ending in ("softmax", "argmax, softmax"):
        add("Softmax", last, axis=1)
    if ending in ("sigmoid", "argmax, sigmoid"):
        add("Sigmoid", last)
    if ending == "constant":
        constants["nothing"] = np.array(0, np.float32)
        add("Mul", last, "nothing")
    if ending.startswith("argmax"):
        last_of_equal = {"select_last_index": 1} if ending == "argmax, last" else {}
        add("ArgMax", last, axis=1, keepdims=int(ending == "argmax, axes"), **last_of_equal)
    if ending == "argmax, axes":  # as Ultralytics and mmdeploy end: another type, and axes of one that come and go
        constants["axis"] = np.array([1], np.int64)
        add("Cast", last, to=TensorProto.INT32)
        add("Squeeze", last, "axis")
        add("Unsqueeze", last, "axis")
        add("Transpose", last, perm=[0, 2, 3, 1])
        add("Identity", last)
    if ending == "argmax, remapped":
        constants["others"] = np.roll(np.arange(classes), 1)
        nodes.append(helper.make_node("Gather", ["others", last], ["remapped"], axis=0))
        last = "remapped"
    if ending == "topk":
        constants["one"] = np.array([1], np.int64)
        nodes.append(helper.make_node("TopK", [last, "one"], ["largest", "ids"], axis=1))
        last = "ids"
    if ending == "argmax, float":
        add("Cast", last, to=TensorProto.FLOAT)
    if layout == "NHWC" and not ending.startswith(("argmax", "topk")):
        add("Transpose", last, perm=[0, 2, 3, 1])
    if second:
        nodes.append(helper.make_node("Identity", [last], [second]))
    element = {"argmax, float": TensorProto.FLOAT, "argmax, axes": TensorProto.INT32}.get(
        ending, TensorProto.INT64 if ending.startswith(("argmax", "topk")) else TensorProto.FLOAT
    )
    shape = [1, 3, *sides] if layout == "NCHW" else [1, *sides, 3]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info(name, element, None) for name in (last, second) if name],
        [numpy_helper.from_array(values, name) for name, values in constants.items() if any(name in n.input for n in nodes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model.producer_name, model.producer_version = "test", "1"
    helper.set_model_props(model, metadata or {})
    path.write_bytes(model.SerializeToString())
    return path
