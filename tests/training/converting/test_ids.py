"""Files that give class ids: the scores before them are served, where the ids are surely those of the largest scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from imaging.rendering import Rendering
from model.imported_network import ImportedNetwork
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.labels import numbered_labels
from tests.support.images import make_photo
from tests.support.training.conversions import MEAN, STD, converted, imagenet_pixels, original_output
from tests.support.training.foreign_networks import foreign_network
from training.converting.graph import ConversionError, read_graph
from training.converting.pixels import Normalisation
from training.converting.proof import LEAST_AGREEMENT

PHOTO = make_photo(256, 256)


@pytest.mark.parametrize(
    ("network", "stride"),
    [
        ({"ending": "argmax"}, 1),
        ({"ending": "argmax, float"}, 1),
        ({"ending": "argmax, axes"}, 1),
        ({"ending": "argmax, softmax"}, 1),
        ({"ending": "topk"}, 1),
        ({"ending": "argmax", "stride": 4}, 4),
        ({"ending": "argmax", "stride": 8, "resized": True}, 8),
        ({"ending": "argmax", "stride": 8, "resized": True, "transform": "align_corners"}, 1),
        ({"ending": "argmax", "sides": (256, 320)}, 1),
    ],
)
def test_the_scores_before_ids_are_served_and_give_the_same_ids(tmp_path: Path, network: dict[str, Any], stride: int) -> None:
    source, lines = foreign_network(tmp_path / "net.onnx", **network), list[str]()
    manifest, runtime = converted(source, lines=lines)
    assert isinstance(manifest.architecture, ImportedNetwork)
    assert (manifest.architecture.output, runtime.stride) == ("logits", stride)
    assert any("--kind class_ids" in line for line in lines)
    assert any("of the ids are the original's" in line and "logits differ" not in line for line in lines)
    assert manifest.training["proof"]["agreement"] >= 0.999
    answer = Segmenter(runtime)(PHOTO, Options(side="native", rendering=Rendering("confidence")))
    assert answer.confidence is not None
    if stride != 4 and "sides" not in network:
        ids = original_output(source, imagenet_pixels(PHOTO)).reshape(256, 256)
        assert (answer.class_map == ids).mean() >= 0.999


@pytest.mark.parametrize(
    ("network", "changes", "words"),
    [
        ({"ending": "argmax, last"}, {}, "takes the last"),
        ({"ending": "argmax, remapped"}, {}, "from Gather, not from ArgMax"),
        ({"ending": "argmax, sigmoid"}, {}, "the ids stay ids, since its scores are independent sigmoids"),
        ({"ending": "argmax"}, {"kind": "class_ids"}, "of the ids are the original's"),
    ],
)
def test_ids_that_are_not_simply_of_the_largest_scores_stay_ids(
    tmp_path: Path, network: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    source, lines = foreign_network(tmp_path / "net.onnx", **network), list[str]()
    manifest, _ = converted(source, lines=lines, **changes)
    assert isinstance(manifest.architecture, ImportedNetwork)
    assert manifest.architecture.output == "class_ids"
    assert any(words in line for line in lines)
    assert not any("logits differ" in line for line in lines)


@pytest.mark.parametrize(
    ("normalisation", "is_right"),
    [
        (Normalisation(MEAN, STD), True),
        (Normalisation(MEAN, STD, bgr=True), False),
        (Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), False),
        (Normalisation((0, 0, 0), (1, 1, 1)), False),
    ],
)
def test_the_proof_cannot_judge_the_pixels_and_says_so(tmp_path: Path, normalisation: Normalisation, is_right: bool) -> None:
    source, lines = foreign_network(tmp_path / "net.onnx"), list[str]()
    manifest, runtime = converted(source, normalisation=normalisation, lines=lines)
    assert manifest.training["proof"]["agreement"] >= 0.9999, "also of wrong pixels, which are the same in both"
    own = original_output(source, imagenet_pixels(PHOTO))[0].argmax(0)
    equal = (Segmenter(runtime)(PHOTO, Options(side="native")).class_map == own).mean()
    assert equal >= 0.999 if is_right else equal < 0.95
    (line,) = [line for line in lines if line.startswith("proof")]
    assert line.endswith("it cannot judge how pixels are normalised, which is the same in both")


def test_a_network_in_float16_is_served_and_compared_in_float32(tmp_path: Path) -> None:
    """Its own arithmetic rounds so much that it would be refused; with its weights, in float32, it gives the same classes."""
    source, lines = rounded(tmp_path / "half.onnx", is_half=True), list[str]()
    manifest, runtime = converted(source, labels=numbered_labels([f"class {index}" for index in range(20)]), lines=lines)
    assert any("float16" in line and "float32" in line for line in lines)
    assert manifest.training["proof"]["agreement"] >= 0.9999
    ours = runtime.logits([PHOTO])[0].argmax(0)
    own = original_output(source, imagenet_pixels(PHOTO).astype(np.float16))[0].argmax(0)
    assert 0.95 <= (ours == own).mean() < LEAST_AGREEMENT
    exact = original_output(rounded(tmp_path / "single.onnx", is_half=False), imagenet_pixels(PHOTO))[0].argmax(0)
    assert (ours == exact).mean() >= 0.9999


def test_grids_that_an_exporter_left_in_float64_are_taken_in_float32(tmp_path: Path) -> None:
    """As PyTorch writes Mask2Former and OneFormer; ONNX Runtime has no operator for such grids."""
    source, lines = foreign_network(tmp_path / "net.onnx", sides=PHOTO.shape[:2]), list[str]()
    own = original_output(source, imagenet_pixels(PHOTO))[0].argmax(0)
    model = onnx.load(source)
    middles = ((2 * np.arange(side) + 1) / side - 1 for side in PHOTO.shape[:2])
    rows, columns = np.meshgrid(*middles, indexing="ij")
    model.graph.initializer.append(numpy_helper.from_array(np.stack([-columns, rows], -1)[None].astype(np.float32), "mirror"))
    model.graph.node.append(helper.make_node("Cast", ["mirror"], ["grid"], to=TensorProto.DOUBLE))
    model.graph.node.append(helper.make_node("GridSample", ["class_scores", "grid"], ["mirrored"]))
    model.graph.output[0].name = "mirrored"
    source.write_bytes(model.SerializeToString())
    with pytest.raises(Exception, match="GridSample"):
        original_output(source, imagenet_pixels(PHOTO))
    _, runtime = converted(source, lines=lines)
    assert any("it computes in float64 in part; it is served, and compared, in float32" in line for line in lines)
    assert (runtime.logits([PHOTO])[0].argmax(0) == own[:, ::-1]).mean() >= 0.999


def rounded(path: Path, *, is_half: bool) -> Path:
    """A network whose weights are rounded to float16. is_half: it also computes so, and takes and gives float16.

    Its scores are so far from 0 that float16 has few steps between them.
    """
    model = onnx.load(foreign_network(path, width=64, classes=20))
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor) + np.float32(20 * (tensor.name == "bias"))
        values = values.astype(np.float16) if is_half else values.astype(np.float16).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    if is_half:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        constant = helper.make_node("Constant", [], ["nothing"], value=numpy_helper.from_array(np.zeros((), np.float16)))
        model.graph.node.insert(0, constant)
    path.write_bytes(model.SerializeToString())
    return path


def test_openvinos_own_format_is_refused_with_the_way_to_onnx(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"OpenVINO's format.*format=onnx"):
        read_graph(tmp_path / "net.xml", b'<?xml version="1.0"?><net/>')
