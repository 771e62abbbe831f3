"""An ONNX file stands for itself: what would read other files is refused, wherever in the model it hides."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from model.inference.runtimes.openvino_runtime import has_external_data, read_export
from model.manifest import WeightsError
from model.weights_file import WEIGHTS_FOLDER


def elsewhere(location: str = "/etc/hostname") -> TensorProto:
    """A tensor whose values are the bytes of another file."""
    tensor = numpy_helper.from_array(np.zeros(4, np.uint8), "elsewhere")
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return tensor


def model_of(node: onnx.NodeProto, *initializers: TensorProto) -> bytes:
    output = helper.make_tensor_value_info("out", TensorProto.UINT8, [4])
    content: bytes = helper.make_model(helper.make_graph([node], "graph", [], [output], list(initializers))).SerializeToString()
    return content


CONSTANT = helper.make_node("Constant", [], ["out"], value=elsewhere())
BRANCH = helper.make_graph([CONSTANT], "branch", [], [helper.make_tensor_value_info("out", TensorProto.UINT8, [4])])
HIDDEN_PLACES = {
    "initializer": model_of(helper.make_node("Identity", ["elsewhere"], ["out"]), elsewhere()),
    "constant": model_of(CONSTANT),
    "branch": model_of(helper.make_node("If", ["condition"], ["out"], then_branch=BRANCH, else_branch=BRANCH)),
}


@pytest.mark.parametrize("place", HIDDEN_PLACES)
def test_a_tensor_of_another_file_is_found(place: str, tmp_path: Path) -> None:
    assert has_external_data(HIDDEN_PLACES[place])
    path = tmp_path / "model.onnx"
    path.write_bytes(HIDDEN_PLACES[place])
    with pytest.raises(WeightsError, match=r"model\.onnx .*other files"):
        read_export(path)


@pytest.mark.parametrize("start", [b"\x0a\x88\x80\0", b"\x8a\x80\0\x08", b"\x8a\x80\x80\x80\x10\x08"])
def test_however_protobuf_writes_the_key_it_is_found(start: bytes) -> None:
    """A number may have more bytes than it needs, and a field's bits above 32 are dropped."""
    assert has_external_data(HIDDEN_PLACES["constant"].replace(b"\x0a\x08location", start + b"location"))


@pytest.mark.parametrize("path", sorted(WEIGHTS_FOLDER.glob("*.onnx")), ids=lambda path: path.name)
def test_the_published_files_stand_for_themselves(path: Path) -> None:
    assert not has_external_data(path.read_bytes())


def test_a_file_is_not_read_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # whoever opened it would wait for ever
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(helper.make_node("Identity", ["elsewhere"], ["out"]), elsewhere("pipe")))
    with pytest.raises(WeightsError, match="other files"):
        read_export(path)
