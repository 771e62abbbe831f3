"""What an output holds is found by the operators that made it, behind whatever follows them; its values alone say nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from common.arrays import Pixels
from imaging.rendering import Rendering
from model.imported_network import ImportedNetwork
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from tests.support.images import make_photo
from tests.support.training.conversions import converted, imagenet_pixels, original_output
from tests.support.training.foreign_networks import foreign_network
from tests.support.training.mask_networks import network_of_outputs
from training.converting.graph import ConversionError

PHOTO = make_photo(96, 128)
Tail = list[tuple[Any, ...]]
BY_2: dict[str, Any] = {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"}
CUBIC: tuple[Any, ...] = ("Resize", "", np.array([1, 1, 2, 2], np.float32), BY_2)
LINEAR: tuple[Any, ...] = (*CUBIC[:3], BY_2 | {"mode": "linear"})
BYTE: tuple[Any, ...] = ("Cast", {"to": TensorProto.UINT8})
FLOAT: tuple[Any, ...] = ("Cast", {"to": TensorProto.FLOAT})
SOFTMAX, SIGMOID = ("Softmax", {"axis": 1}), ("Sigmoid",)
BY_HAND: Tail = [("Neg",), ("Exp",), ("Add", 1.0), ("Reciprocal",)]


def network(path: Path, tail: Tail, **changes: Any) -> Path:
    """A foreign network that goes on with these operators: their names, further inputs, and attributes at the end."""
    stride = changes.pop("stride", 2 if any(step[0] == "Resize" for step in tail) else 1)
    model = onnx.load(foreign_network(path, **{"sides": PHOTO.shape[:2], "stride": stride} | changes))
    last = model.graph.output[0].name
    for number, (operator, *rest) in enumerate(tail):
        attributes = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        inputs = [last]
        for index, value in enumerate(rest):
            inputs.append("" if isinstance(value, str) else f"constant_{number}_{index}")
            if not isinstance(value, str):
                array = value if isinstance(value, np.ndarray) else np.array(value, np.float32)
                model.graph.initializer.append(numpy_helper.from_array(array, inputs[-1]))
        last = f"tail_{number}"
        model.graph.node.append(helper.make_node(operator, inputs, [last], **attributes))
    element = TensorProto.UINT8 if tail[-1] == BYTE or tail[-1][0] == "QuantizeLinear" else TensorProto.FLOAT
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(last, element, None))
    path.write_bytes(model.SerializeToString())
    return path


def served(runtime: Any) -> Pixels:
    classes: Pixels = Segmenter(runtime)(PHOTO, Options(side="native")).class_map
    return classes


@pytest.mark.parametrize(
    ("tail", "scale"),
    [
        ([SIGMOID, ("Mul", 255.0)], (0, 255)),
        ([SIGMOID, CUBIC], (0, 1)),
        ([SIGMOID, ("Sub", 1e-6)], (0, 1)),
        ([SIGMOID, ("Mul", 255.0), CUBIC, ("Clip", 0.0, 255.0), BYTE], (0, 255)),
        ([SIGMOID, ("Mul", 255.0), ("Round",)], (0, 255)),
        ([SIGMOID, LINEAR, ("Mul", 2.0), ("Sub", 1.0)], (-1, 1)),
        ([("HardSigmoid",), ("Div", np.array([1 / 100], np.float32))], (0, 100)),
        ([("Tanh",)], (-1, 1)),
        ([*BY_HAND, ("Mul", 255.0)], (0, 255)),
        ([("Clip", 0.0, 1.0), ("Mul", 255.0)], (0, 255)),
        ([SIGMOID, ("QuantizeLinear", 1 / 255, np.array(0, np.uint8))], (0, 255)),
    ],
)
def test_one_channel_of_shares_is_split_in_their_middle(tmp_path: Path, tail: Tail, scale: tuple[float, float]) -> None:
    source = network(tmp_path / "net.onnx", tail, classes=1)
    own = original_output(source, imagenet_pixels(PHOTO))[0, 0] > sum(scale) / 2
    assert 0.05 < own.mean() < 0.95
    manifest, runtime = converted(source, classes=2)
    assert isinstance(manifest.architecture, ImportedNetwork)
    assert manifest.architecture.output == "binary_probabilities"
    assert (served(runtime) == own).mean() >= 0.999
    assert converted(source, classes=2, kind="binary_probabilities")[0].training["output"] == manifest.training["output"]


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        ([SOFTMAX, LINEAR], "probabilities"),
        ([SOFTMAX, CUBIC], "probabilities"),
        ([SOFTMAX, ("Mul", 100.0)], "probabilities"),
        ([SOFTMAX, ("Sub", 1e-6)], "probabilities"),
        ([("LogSoftmax", {"axis": 1})], "logits"),
        ([("Clip", -1.0, 1.0)], "logits"),
        ([("Mul", 0.01), ("Add", 0.5)], "logits"),
    ],
)
def test_several_channels_are_probabilities_by_what_made_them(tmp_path: Path, tail: Tail, kind: str) -> None:
    source = network(tmp_path / "net.onnx", tail)
    manifest, runtime = converted(source)
    assert manifest.training["output"].split(", ")[1].split(" from")[0] == kind
    values = original_output(source, imagenet_pixels(PHOTO))[0]
    assert (served(runtime) == values.argmax(0)).mean() >= 0.999
    if kind == "probabilities":
        shares = values.max(0) / values.sum(0)
        answer = Segmenter(runtime)(PHOTO, Options(side="native", rendering=Rendering("confidence")))
        assert answer.confidence is not None
        assert np.abs(answer.confidence / 255 - shares.clip(0, 1)).max() < 0.05


def test_probabilities_by_hand_are_found_by_their_sums(tmp_path: Path) -> None:
    source = network(tmp_path / "net.onnx", [("Exp",)])
    model = onnx.load(source)
    axis = numpy_helper.from_array(np.array([1]), "axis")
    model.graph.initializer.append(axis)
    model.graph.node.append(helper.make_node("ReduceSum", ["tail_0", "axis"], ["sum"]))
    model.graph.node.append(helper.make_node("Div", ["tail_0", "sum"], ["shares"]))
    model.graph.output[0].name = "shares"
    source.write_bytes(model.SerializeToString())
    assert ", probabilities, 3 channels" in converted(source)[0].training["output"]


@pytest.mark.parametrize("tail", [[("Greater", 0.0), FLOAT], [SIGMOID, ("Round",)], [SIGMOID, ("Greater", 0.5), BYTE]])
@pytest.mark.parametrize("factor", [1.0, 255.0])
def test_ids_are_ids_whatever_the_step_between_them(tmp_path: Path, tail: Tail, factor: float) -> None:
    tail = [*tail, FLOAT, ("Mul", factor)] if factor > 1 else tail
    source = network(tmp_path / "net.onnx", tail, classes=1)
    manifest, runtime = converted(source, classes=2)
    assert manifest.architecture.output == "class_ids"
    assert (served(runtime) == (original_output(source, imagenet_pixels(PHOTO))[0, 0] > 0)).mean() >= 0.999


@pytest.mark.parametrize(
    ("tail", "classes", "words"),
    [
        ([("Relu",)], 1, r"made by Conv: say what they are: --kind binary_probabilities \(above"),
        ([("Mul", 0.01), ("Add", 0.5)], 1, "from 0.4.* made by Conv: say"),  # shares by their values alone
        ([("Softplus",)], 1, "made by Conv: say"),
        ([SIGMOID, ("Mul", 255.0)], 2, "made by Sigmoid, .* independent sigmoids"),
        ([SIGMOID, CUBIC], 3, "made by Sigmoid, .* independent sigmoids"),
    ],
)
def test_what_the_operators_leave_open_is_asked(tmp_path: Path, tail: Tail, classes: int, words: str) -> None:
    source = network(tmp_path / "net.onnx", tail, classes=classes)
    with pytest.raises(ConversionError, match=words):
        converted(source, classes=max(2, classes))
    kind = "binary_probabilities" if classes == 1 else "logits"
    assert converted(source, classes=max(2, classes), kind=kind)[0].architecture.output == kind


@pytest.mark.parametrize(
    ("changes", "sides", "cell"),
    [
        ({}, (448, 448), 2),
        ({}, ("height", "width"), 2),
        ({"ending": "argmax"}, (448, 448), 2),
        ({"ending": "argmax, last"}, (448, 448), 2),
        ({"ending": "softmax", "layout": "NHWC"}, (448, 448), 2),
        ({"stride": 12}, ("height", "width"), 4),
        ({"stride": 7}, (224, 224), 1),
        ({"resized": True}, (448, 448), 1),
    ],
)
def test_cells_of_any_whole_number_of_pixels_are_converted(
    tmp_path: Path, changes: dict[str, Any], sides: tuple[Any, Any], cell: int
) -> None:
    lines: list[str] = []
    manifest, runtime = converted(
        foreign_network(tmp_path / "net.onnx", **{"stride": 14, "sides": sides, **changes}), lines=lines
    )
    assert runtime.stride == cell
    assert manifest.training["proof"]["agreement"] >= 0.999
    assert set(np.unique(served(runtime))) <= {0, 1, 2}
    assert any(line.startswith("cells") for line in lines) == (cell != 1 or "stride" in changes)


@pytest.mark.parametrize(
    ("stride", "sides", "words"),
    [
        (14, (450, 450), "has 33x33 cells for pictures of 450x450 pixels, one for 13.64x13.64"),
        (64, (448, 448), "one for 64x64: cells of 1 to 32 whole pixels"),
        (0, (512, 512), "convolutions without padding leave 14 pixels out at each edge"),
        (0, ("height", "width"), "convolutions without padding leave 14 pixels out at each edge"),
    ],
)
def test_what_is_nearly_a_map_is_refused_by_its_own_reason(
    tmp_path: Path, stride: int, sides: tuple[Any, Any], words: str
) -> None:
    source = foreign_network(tmp_path / "net.onnx", stride=stride or 1, sides=sides)
    if not stride:
        model = onnx.load(source)
        ends = [np.array(values) for values in ([14, 14], [-14, -14], [2, 3])]
        model.graph.initializer.extend(numpy_helper.from_array(array, f"end_{i}") for i, array in enumerate(ends))
        model.graph.node.append(helper.make_node("Slice", [model.graph.output[0].name, "end_0", "end_1", "end_2"], ["cut"]))
        model.graph.output[0].name = "cut"
        source.write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match=words) as error:
        converted(source)
    assert "boxes" not in str(error.value)


def test_ids_that_a_resize_mixes_are_no_scores(tmp_path: Path) -> None:
    source = network(tmp_path / "net.onnx", [("ArgMax", {"axis": 1}), FLOAT, LINEAR])
    with pytest.raises(ConversionError, match="made by ArgMax: export the scores that they are made of"):
        converted(source)


def test_of_several_maps_the_largest_is_proposed(tmp_path: Path) -> None:
    source = network_of_outputs(tmp_path / "net.onnx", {"eighth": (3, 8), "full": (3, 1), "half": (3, 2)})
    with pytest.raises(ConversionError, match="say which: --output full"):
        converted(source)


def test_advice_that_fails_is_not_given(tmp_path: Path) -> None:
    """A resize of probabilities, where the service would interpolate their logarithms."""
    lines: list[str] = []
    source = network(
        tmp_path / "net.onnx", [("Mul", 8.0), SOFTMAX, (*LINEAR[:2], np.array([1, 1, 8, 8], np.float32), LINEAR[3])], stride=8
    )
    converted(source, lines=lines)
    with pytest.raises(ConversionError, match="gives other classes"):
        converted(source, before_resize=True)
    assert not any("--before-resize" in line for line in lines)
