"""Files for other programs: the network in the form of Deepness, and a program for ONNX Runtime."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from model.inference.runtimes.openvino_runtime import OpenVINORuntime, read_export
from model.inference.segmenter import Segmenter
from tests.support.checkout import ROOT
from tests.support.images import make_photo
from tests.support.training.conversions import converted
from tests.support.training.foreign_networks import foreign_network
from training.commands.export import main
from training.publishing.onnx_files import write_export

PHOTO = ROOT / "docs" / "photos" / "chelsea.jpg"
NAME = "voc-fcn8s-mobilenet-v2"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The default weights and their float32 export, in a folder of their own."""
    for suffix in (".safetensors", ".onnx"):
        (tmp_path / f"{NAME}{suffix}").symlink_to(ROOT / "weights" / f"{NAME}{suffix}")
    return tmp_path / f"{NAME}.safetensors"


def test_deepness_gets_probabilities_that_give_the_mask_of_the_service(weights: Path, tmp_path: Path) -> None:
    assert main(["--weights", str(weights), "--for", "deepness"]) == 0
    session = onnxruntime.InferenceSession(tmp_path / f"{NAME}.deepness.onnx", providers=["CPUExecutionProvider"])
    (network_input,), (output,) = session.get_inputs(), session.get_outputs()
    assert network_input.shape == [1, 3, 512, 512]
    assert output.shape == [1, 21, 512, 512]
    facts = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    assert facts["model_type"] == "Segmentor"
    assert facts["class_names"]["8"] == "cat"
    assert facts["tile_size"] == 512
    with Image.open(PHOTO) as photo:
        tile = photo.convert("RGB").resize((512, 512))
    tile.save(tmp_path / "tile.png")
    image = np.asarray(tile, np.float32) / 255  # as Deepness standardises pixels
    image = (image - facts["standardization_mean"]) / facts["standardization_std"]
    (probabilities,) = session.run(None, {network_input.name: image.transpose(2, 0, 1)[None].astype(np.float32)})
    assert np.allclose(probabilities.sum(1), 1, atol=1e-4)
    ours = Segmenter.from_weights(str(weights), "cpu", precision="float32", threads=1)(tmp_path / "tile.png")
    assert (probabilities[0].argmax(0) == ours.class_map).mean() >= 0.999


def test_a_converted_network_goes_to_deepness_as_well(tmp_path: Path) -> None:
    for ending, sides in (("logits", (64, 96)), ("argmax", ("height", "width"))):
        converted(foreign_network(tmp_path / "net.onnx", ending=ending, sides=sides))
        assert main(["--weights", str(tmp_path / "converted.onnx"), "--for", "deepness", "--force"]) == 0
        session = onnxruntime.InferenceSession(tmp_path / "converted.deepness.onnx", providers=["CPUExecutionProvider"])
        side = session.get_inputs()[0].shape[-1]
        assert side == (64 if ending == "logits" else 512)
        tile = make_photo(side, side)
        (probabilities,) = session.run(None, {"image": (tile / 255).astype(np.float32).transpose(2, 0, 1)[None]})
        ours = OpenVINORuntime(tmp_path / "converted.onnx", threads=1).logits([tile])
        assert (probabilities.argmax(1) == ours.argmax(1)).mean() >= 0.999
        facts = session.get_modelmeta().custom_metadata_map
        assert json.loads(facts["class_names"]) == {"0": "background", "1": "leaf", "2": "stem"}
        assert "resolution" not in facts
    path = tmp_path / "converted.onnx"
    export = read_export(path)
    manifest = replace(export.manifest, preprocessing=replace(export.manifest.preprocessing, gsd=0.125))
    write_export(path, onnx.load(path), manifest, "float32", export.stride, export.grid)
    assert main(["--weights", str(path), "--for", "deepness", "--force"]) == 0
    (resolution,) = (p.value for p in onnx.load(tmp_path / "converted.deepness.onnx").metadata_props if p.key == "resolution")
    assert resolution == "12.5"  # centimetres


def test_existing_files_are_refused(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--weights", str(weights), "--for", "onnxruntime"]
    assert main(command) == 0
    assert weights.with_suffix(".run.py").read_text() == (ROOT / "training" / "publishing" / "run_onnx.py.txt").read_text()
    assert main(command) != 0
    assert f"{NAME}.run.py" in capsys.readouterr().err
