"""Files of strangers: what a network could do beside computing is refused before it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model.imported_network import LAYOUTS, Layout
from tests.support.training.foreign_networks import foreign_network
from training.converting import graph as graph_module
from training.converting.graph import LEAST_OPSET, ConversionError, opset, read_graph
from training.converting.inputs import find_input

Change = Callable[[onnx.ModelProto], None]


def graph_of(path: Path) -> onnx.ModelProto:
    return read_graph(path, path.read_bytes())


def changed(path: Path, change: Change) -> Path:
    model = onnx.load(foreign_network(path))
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.evil"


def external_tensor(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["looped"], body=body))


def loop_in_a_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Scan", ["x"], ["y"], num_scan_inputs=1)], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))


def other_bands(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4


def batch_of_two(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("points", TensorProto.FLOAT, [1, 2]))


def whole_numbers(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def no_channels(model: onnx.ModelProto) -> None:
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_param = "any"


def no_channels_and_no_convolution(model: onnx.ModelProto) -> None:
    no_channels(model)
    del model.graph.node[1:]
    model.graph.node[0].op_type = "Relu"


def six_bands(model: onnx.ModelProto) -> None:
    no_channels(model)
    (kernel,) = (tensor for tensor in model.graph.initializer if tensor.name == "kernel")
    kernel.CopyFrom(onnx.numpy_helper.from_array(np.zeros((8, 6, 7, 7), np.float32), "kernel"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (foreign_operator, r"not ONNX's own: com.evil.Relu \(1\)"),
        (external_tensor, "keeps tensors in other files"),
        (loop, r"repeats a part of its network: Loop \(1\)"),
        (loop_in_a_branch, "Scan"),
        (other_bands, "must have 3 channels.*1 x 4 x"),
        (batch_of_two, "2 images at once"),
        (second_input, "it has 2: image, points"),
        (whole_numbers, "got int64"),
        (no_channels_and_no_convolution, "does not say which axis holds the channels: .*--layout NCHW"),
        (six_bands, "convolution of the input image takes 6 channels; networks of other bands"),
    ],
)
def test_what_is_not_served_is_refused_by_name(tmp_path: Path, change: Change, words: str) -> None:
    path = changed(tmp_path / "net.onnx", change)
    with pytest.raises(ConversionError, match=words):
        find_input(graph_of(path))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_number_of_channels_the_first_operators_say_the_layout(tmp_path: Path, layout: Layout) -> None:
    model = onnx.load(foreign_network(tmp_path / "net.onnx", layout=layout, dtype=onnx.TensorProto.UINT8))
    no_channels(model)
    network_input = find_input(model)
    assert (network_input.layout, network_input.sides) == (layout, (None, None))


def test_else_the_names_of_the_axes_or_the_user_say_the_layout_unless_the_file_contradicts_it(tmp_path: Path) -> None:
    model = onnx.load(changed(tmp_path / "other.onnx", no_channels_and_no_convolution))
    assert find_input(model, "NHWC").layout == "NHWC"
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "num_channels"
    assert find_input(model).layout == "NCHW"
    with pytest.raises(ConversionError, match="is 1 x 3 x 64 x 96, without 3 channels where --layout NHWC has them"):
        find_input(onnx.load(foreign_network(tmp_path / "net.onnx", sides=(64, 96))), "NHWC")


def test_functions_are_put_in_place(tmp_path: Path) -> None:
    path = foreign_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    nodes = [helper.make_node("Relu", ["x"], ["t"]), helper.make_node("Relu", ["t"], ["y"])]
    model.functions.append(helper.make_function("local", "f", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)]))
    model.graph.node[1].domain, model.graph.node[1].op_type = "local", "f"
    model.opset_import.append(helper.make_opsetid("local", 1))
    path.write_bytes(model.SerializeToString())
    assert len(graph_of(path).graph.node) == len(model.graph.node) + 1
    model.functions[0].node[0].domain, model.functions[0].node[0].op_type = "local", "f"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match=r"cannot be put in place: .*must not be recursive"):
        graph_of(path)


@pytest.mark.parametrize("data", [b"", b"\xff" * 1000, b"version https://git-lfs.github.com/spec/v1"])
def test_no_onnx_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(ConversionError, match=r"is damaged, or no ONNX file|pointer of Git LFS"):
        graph_of(tmp_path / "net.onnx")


def test_more_operators_or_bytes_than_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = foreign_network(tmp_path / "net.onnx")
    monkeypatch.setattr(graph_module, "MOST_NODES", 2)
    with pytest.raises(ConversionError, match="more than 2 operators"):
        graph_of(path)
    monkeypatch.setattr(graph_module, "MOST_BYTES", 100)
    with pytest.raises(ConversionError, match="bytes; at most 100"):
        graph_of(path)


def test_an_old_opset_is_raised(tmp_path: Path) -> None:
    assert opset(graph_of(foreign_network(tmp_path / "net.onnx", opset=11))) == LEAST_OPSET
    assert opset(graph_of(foreign_network(tmp_path / "net.onnx", opset=18))) == 18
