"""Networks of other programs become files that are served: the same classes as the original's, whatever it takes and gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from imaging.errors import WrongParameter
from imaging.rendering import Rendering
from model.imported_network import ImportedNetwork
from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import read_export
from model.inference.segmenter import Segmenter
from model.inference.tiling import TilingError
from model.labels import numbered_labels
from tests.support.images import encode, make_photo
from tests.support.training.conversions import NAMES, converted, imagenet_pixels, original_output
from tests.support.training.foreign_networks import foreign_network
from training.converting.graph import ConversionError
from training.converting.outputs import to_logits
from training.converting.pixels import Normalisation

PHOTO = make_photo(256, 256)  # sides that a tile can have, so that no edge is repeated


@pytest.mark.parametrize(
    ("network", "kind", "stride"),
    [
        ({}, "logits", 1),
        ({"layout": "NHWC"}, "logits", 1),
        ({"dtype": TensorProto.FLOAT16}, "logits", 1),
        ({"ending": "softmax"}, "probabilities", 1),
        ({"ending": "sigmoid", "classes": 1}, "binary_probabilities", 1),
        ({"classes": 1}, "binary_logits", 1),
        ({"stride": 4}, "logits", 4),
        ({"multiple": 64}, "logits", 1),
        ({"sides": (264, 232), "stride": 8}, "logits", 8),
    ],
)
def test_what_a_network_takes_and_gives_is_found_out(tmp_path: Path, network: dict[str, Any], kind: str, stride: int) -> None:
    source = foreign_network(tmp_path / "net.onnx", **network)
    manifest, runtime = converted(source, classes=max(2, network.get("classes", 3)))
    assert isinstance(manifest.architecture, ImportedNetwork)
    assert (manifest.architecture.output, runtime.stride) == (kind, stride)
    assert manifest.training["proof"]["agreement"] >= 0.999
    assert read_export(source.with_name("converted.onnx")).manifest == manifest
    tile = manifest.preprocessing.tile
    logits = runtime.logits([np.ascontiguousarray(np.resize(PHOTO, (*tile, 3)))])
    assert logits.shape == (1, len(manifest.labels), tile[0] // stride, tile[1] // stride)


def test_a_network_that_takes_pixels_is_asked_for_no_normalisation(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx", dtype=TensorProto.UINT8)
    with pytest.raises(ConversionError, match="takes uint8 pixels"):
        converted(source)
    for bgr, pixels in ((False, PHOTO), (True, PHOTO[..., ::-1])):
        _, runtime = converted(source, normalisation=None, bgr=bgr)
        theirs = original_output(source, np.ascontiguousarray(pixels).transpose(2, 0, 1)[None])
        assert np.abs(runtime.logits([PHOTO]) - theirs).max() < 1e-3


def test_blue_first_and_another_scale(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx")
    mean, std = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
    _, runtime = converted(source, normalisation=Normalisation(mean, std, 1.0, bgr=True))
    values = ((PHOTO[..., ::-1] - np.array(mean)) / np.array(std)).transpose(2, 0, 1)[None]
    theirs = original_output(source, np.ascontiguousarray(values, np.float32))
    assert np.abs(runtime.logits([PHOTO]) - theirs).max() < 1e-3
    class_map = Segmenter(runtime)(PHOTO, Options(side="native")).class_map
    assert (class_map == theirs[0].argmax(0)).mean() >= 0.999, "the mask is the original's own on the whole photo"


@pytest.mark.parametrize(("transform", "grid"), [("pytorch_half_pixel", "half_pixel"), ("asymmetric", "corner")])
def test_a_network_without_its_last_resize_gives_the_same_classes(tmp_path: Path, transform: str, grid: str) -> None:
    source = foreign_network(tmp_path / "net.onnx", stride=8, resized=True, transform=transform)
    lines: list[str] = []
    manifest, runtime = converted(source, lines=lines)
    assert runtime.stride == 1
    assert any("--before-resize" in line for line in lines)
    manifest, runtime = converted(source, before_resize=True)
    assert (runtime.stride, runtime.grid) == (8, grid)
    assert manifest.training["proof"]["agreement"] >= 0.999


def test_a_resize_with_aligned_corners_stays_in_the_network(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx", stride=8, resized=True, transform="align_corners")
    with pytest.raises(ConversionError, match="align_corners"):
        converted(source, before_resize=True)
    assert converted(source)[1].stride == 1


def test_cells_lie_as_pytorch_interpolates_them_and_the_command_says_that_it_is_a_choice(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx", stride=4)
    chosen: list[str] = []
    assert converted(source, lines=chosen)[1].grid == "half_pixel"
    assert any("is a choice" in line and "--grid corner" in line for line in chosen)
    stated: list[str] = []
    assert converted(source, grid="corner", lines=stated)[1].grid == "corner"
    (tmp_path / "config.json").write_text('{"model_type": "segformer"}')
    assert converted(source, lines=stated)[1].grid == "half_pixel"
    assert not any("is a choice" in line for line in stated), "the user, or the library, says it"


def test_class_ids_are_served_without_confidence(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx", ending="argmax")
    _, runtime = converted(source, kind="class_ids")
    segmenter = Segmenter(runtime)
    data = encode(PHOTO)
    shapes = Rendering("coco", mask="polygons", shapes=True)
    sure = replace(shapes, min_confidence=0.5)
    for rendering in (Rendering("confidence"), Rendering("npz"), Rendering("json", confidence=True), sure):
        with pytest.raises(WrongParameter, match="class ids alone"):
            segmenter.plan(data, Options(rendering=rendering))
    assert b'"score":null' in segmenter.segment(data, segmenter.plan(data, Options(rendering=shapes))).body
    output = segmenter.segment(data, segmenter.plan(data, Options(rendering=Rendering("json"))))
    assert output.mean_confidence is None
    assert b'"mean_confidence":null' in output.body.replace(b" ", b"")


def test_ids_name_as_many_classes_as_the_largest_of_them_is_chosen_from(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx", ending="argmax", classes=5)
    with pytest.raises(ConversionError, match=r"has 5 classes, and 3 are named \(background, leaf, stem\): each"):
        converted(source)
    with pytest.raises(ConversionError, match=r"6 are named \(background, leaf, stem, soil, and 2 more\): each"):
        converted(source, labels=numbered_labels([*NAMES, "soil", "weed", "bud"]))
    assert converted(source, labels=numbered_labels([*NAMES, "soil", "weed"]))[0].architecture.num_classes == 5


def test_ids_of_no_class_are_an_error() -> None:
    ids = np.zeros((1, 2, 2))
    assert to_logits(ids, "class_ids", 2).argmax(0).tolist() == [[0, 0], [0, 0]]
    for value in (2, -1, 0.5):
        ids[0, 0, 0] = value
        with pytest.raises(ConversionError, match="2 classes are named"):
            to_logits(ids, "class_ids", 2)


def test_a_network_of_one_size_takes_no_larger_tile(tmp_path: Path) -> None:
    manifest, runtime = converted(foreign_network(tmp_path / "net.onnx", sides=(100, 200)))
    assert manifest.largest_tile == manifest.preprocessing.tile == (96, 192)
    segmenter = Segmenter(runtime)
    assert segmenter(PHOTO).class_map.shape == PHOTO.shape[:2]
    with pytest.raises(TilingError, match="at most 96x192"):
        segmenter(PHOTO, Options(tile=(96, 224)))
    with pytest.raises(TilingError, match="at most 96x192"):
        segmenter.warm_up((512, 512))


@pytest.mark.parametrize(
    ("network", "changes", "words"),
    [
        ({"ending": "sigmoid"}, {}, "independent sigmoids"),
        ({"classes": 4}, {}, "has 4 classes, and 3 are named"),
        ({}, {"labels": None}, "nothing names the classes, 3 of them"),
        ({}, {"normalisation": None}, "--mean 0.485,0.456,0.406"),
        ({}, {"output": "aux"}, "there is no output 'aux'"),
        ({}, {"kind": "binary_logits"}, "3 channels"),
        ({"classes": 1}, {"kind": "class_ids"}, "no whole numbers"),
        (
            {"metadata": {"task": "segment", "names": "{}", "stride": "32", "imgsz": "[64]"}},
            {"normalisation": None},
            "find objects",
        ),
        ({"sides": (24, 64)}, {}, "at least 32x32"),
        ({}, {"before_resize": True}, "does not end in a resize"),
        ({"stride": 4}, {"before_resize": True}, "leave it out"),
        ({"sides": (64, 64)}, {"tile": (96, 96)}, "leave out --tile"),
    ],
)
def test_an_open_question_is_an_error_that_says_how_to_answer(
    tmp_path: Path, network: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    source = foreign_network(tmp_path / "net.onnx", **network)
    with pytest.raises(ConversionError, match=words):
        converted(source, **changes)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_network_that_the_conversion_would_change_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = foreign_network(tmp_path / "net.onnx")
    normalise = Normalisation.apply
    monkeypatch.setattr(Normalisation, "apply", lambda self, tile: normalise(self, tile[:, ::-1]))
    with pytest.raises(ConversionError, match="gives other classes than the original"):
        converted(source)


def test_of_several_outputs_one_is_named(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx", second="other")
    with pytest.raises(ConversionError, match="say which: --output"):
        converted(source)
    assert converted(source, output="other")[0].training["output"].startswith("other")


def test_the_original_is_the_file_as_it_came(tmp_path: Path) -> None:
    """Its nodes may change where its opset is raised; the comparison would not see that in the raised file."""
    source = foreign_network(tmp_path / "net.onnx", opset=10, stride=4, resized=True)
    _, runtime = converted(source)
    theirs = original_output(source, imagenet_pixels(PHOTO))[0]
    assert (runtime.logits([PHOTO])[0].argmax(0) == theirs.argmax(0)).mean() >= 0.999
    assert converted(source, before_resize=True)[1].grid == "corner"


def test_values_that_are_not_finite_on_a_photograph_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = foreign_network(tmp_path / "net.onnx")
    monkeypatch.setattr("training.converting.proof.channels_first", lambda values, _: values[0] * np.nan)
    with pytest.raises(ConversionError, match="not finite, on a photograph"):
        converted(source)


def test_a_comparison_that_shows_one_class_says_so(tmp_path: Path) -> None:
    lines: list[str] = []
    manifest, _ = converted(foreign_network(tmp_path / "net.onnx", ending="constant"), kind="logits", lines=lines)
    assert manifest.training["proof"]["classes"] == 1
    assert any("one class says little" in line for line in lines)


def test_a_file_beside_the_network_that_nobody_needs_is_not_read(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx")
    for name in ("preprocessor_config.json", "config.json", "deploy.yaml", "pipeline.json"):
        (tmp_path / name).write_text("{")
    assert converted(source)[0].labels.names == list(NAMES)


def test_masks_of_objects_are_no_classes(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx")
    (tmp_path / "config.json").write_text('{"model_type": "conditional_detr", "id2label": {"0": "a", "1": "b", "2": "c"}}')
    with pytest.raises(ConversionError, match="masks of objects are not served"):
        converted(source)


def test_names_of_the_network_that_are_ours_too(tmp_path: Path) -> None:
    source = foreign_network(tmp_path / "net.onnx")
    model = onnx.load(source)
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [
                {"image": "pixels", "class_scores": "logits", "tensor_1": "fcn/before/Cast_0"}.get(n, n) for n in tensors
            ]
    model.graph.input[0].name, model.graph.output[0].name = "pixels", "logits"
    source.write_bytes(model.SerializeToString())
    assert converted(source)[0].training["proof"]["agreement"] >= 0.999
