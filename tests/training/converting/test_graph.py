"""Files of strangers: what a network could do beside computing is refused before it runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
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


def unknown_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 99


def three_axes(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[3]


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
        (three_axes, "four axes"),
        (no_channels_and_no_convolution, "does not say which axis holds the channels: .*--layout NCHW"),
        (six_bands, "convolution of the input image takes 6 channels; networks of other bands"),
        (unknown_type, "got the number 99"),
    ],
)
def test_what_is_not_served_is_refused_by_name(tmp_path: Path, change: Change, words: str) -> None:
    path = changed(tmp_path / "net.onnx", change)
    with pytest.raises(ConversionError, match=words):
        find_input(graph_of(path))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8])
def test_without_a_number_of_channels_the_first_operators_say_the_layout(tmp_path: Path, layout: Layout, dtype: int) -> None:
    model = onnx.load(foreign_network(tmp_path / "net.onnx", layout=layout, dtype=dtype))
    no_channels(model)
    network_input = find_input(model)
    assert (network_input.layout, network_input.sides) == (layout, (None, None))


def test_else_the_names_of_the_axes_or_the_user_say_the_layout(tmp_path: Path) -> None:
    model = onnx.load(changed(tmp_path / "net.onnx", no_channels_and_no_convolution))
    assert find_input(model, "NHWC").layout == "NHWC"
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[1].dim_param = "num_channels"
    assert find_input(model).layout == "NCHW"
    dims[1].dim_param, dims[3].dim_param = "any", "channels"
    assert find_input(model).layout == "NHWC"


def test_a_layout_that_the_file_contradicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="is 1 x 3 x 64 x 96, without 3 channels where --layout NHWC has them"):
        find_input(onnx.load(foreign_network(tmp_path / "net.onnx", sides=(64, 96))), "NHWC")


def test_functions_are_put_in_place_within_the_limits(tmp_path: Path) -> None:
    def with_functions(levels: int, calls: int, *, recursive: bool = False) -> Path:
        path = foreign_network(tmp_path / "net.onnx")
        model = onnx.load(path)
        for level in range(levels):
            inner = f"f{level - 1}" if level else "f0" if recursive else ""
            names = ["x", *(f"t{index}" for index in range(calls - 1)), "y"]
            nodes = [helper.make_node(inner or "Relu", [a], [b], domain="local" if inner else "") for a, b in pairwise(names)]
            opset = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
            model.functions.append(helper.make_function("local", f"f{level}", ["x"], ["y"], nodes, opset))
        model.graph.node[1].domain, model.graph.node[1].op_type = "local", f"f{levels - 1}"
        model.opset_import.append(helper.make_opsetid("local", 1))
        path.write_bytes(model.SerializeToString())
        return path

    assert len(graph_of(with_functions(2, 3)).graph.node) == 2 + 9
    with pytest.raises(ConversionError, match="1,000,000,002 operators"):
        graph_of(with_functions(9, 10))
    with pytest.raises(ConversionError, match="calls itself: f0"):
        graph_of(with_functions(1, 2, recursive=True))


def test_a_pointer_of_git_lfs_says_so(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ConversionError, match="pointer of Git LFS"):
        graph_of(tmp_path / "net.onnx")


@pytest.mark.parametrize("data", [b"", b"not a network", b"\x08", b"\xff" * 1000, b'{"json": 1}'])
def test_no_onnx_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(ConversionError, match="is no ONNX file"):
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
