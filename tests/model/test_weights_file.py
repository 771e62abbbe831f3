"""The weights file: what is written comes back, and files are found."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from model.labels import camvid_labels
from model.preprocessing import Preprocessing
from model.weights_file import DEFAULT_WEIGHTS, Manifest, Weights, find_weights, load_weights, save_weights
from tests.conftest import NAMES, narrow_net
from tests.model.weights_files import content


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    net = narrow_net()
    labels = camvid_labels()
    manifest = Manifest(
        net.architecture,
        type(labels)(labels.classes[:4], ignore_index=11),
        Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 1 / 127, (256, 640)),
        "CC-BY-4.0",
        {"steps": 100, "seed": 1},
        {"val": {"mean_iou": 0.5, "iou": [0.5, None]}},
        1.25,
    )
    path = tmp_path / "some-name.safetensors"
    save_weights(path, net, manifest)
    weights = load_weights(path)
    assert weights.manifest == manifest
    assert weights.identity == {"name": "some-name", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert [entry.name for entry in tmp_path.iterdir()] == ["some-name.safetensors"]


def test_the_network_comes_back_within_half_precision_ready_to_run(narrow_file: Path, narrow: Weights) -> None:
    net = narrow.network()
    assert not net.training
    assert net.architecture == narrow.manifest.architecture
    stored = content(narrow_file)[1]
    for name, tensor in net.state_dict().items():
        assert stored[name].dtype == (torch.float16 if tensor.is_floating_point() else tensor.dtype)
        assert tensor.dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(tensor, stored[name].to(tensor.dtype), atol=0, rtol=0)


def test_writing_rounds_to_half_precision_and_no_further(tmp_path: Path, narrow: Weights) -> None:
    net = narrow_net()
    path = tmp_path / "net.safetensors"
    save_weights(path, net, narrow.manifest)
    for name, tensor in load_weights(path).network().state_dict().items():
        torch.testing.assert_close(tensor, net.state_dict()[name], atol=1e-6, rtol=1e-3)


def test_the_header_is_one_json_document_with_the_facts(narrow_file: Path) -> None:
    document, _ = content(narrow_file)
    assert document["format_version"] == 1
    assert document["architecture"] == {
        "variant": "fcn8s",
        "backbone": "mobilenet_v2",
        "num_classes": 4,
        "output_stride": 16,
        "head": "fc",
        "head_width": 16,
        "width": 0.1,
        "skip_width": 0,
        "decoder": "aligned",
        "score_scales": [1.0, 1.0],
    }
    assert document["classes"][1] == {"id": 1, "name": "circle", "color": "#800000"}
    assert [entry["name"] for entry in document["classes"]] == NAMES
    assert document["ignore_index"] == 255
    assert document["preprocessing"]["side"] == [64, 128]
    assert document["license"] == "Apache-2.0"
    assert "calibration" not in document


def test_weights_are_found_by_path(narrow_file: Path) -> None:
    assert find_weights(str(narrow_file)) == narrow_file


@pytest.mark.parametrize("ending", ["", ".safetensors"])
def test_the_default_weights_are_found_by_name(ending: str) -> None:
    assert find_weights(DEFAULT_WEIGHTS + ending).name == f"{DEFAULT_WEIGHTS}.safetensors"
