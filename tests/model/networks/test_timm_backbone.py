"""Encoders of timm as backbones: where their cells lie, their tensors, and that an export serves without timm."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from benchmarks.harness.narrow import randomise
from imaging.decoding import Limits, decode
from model.architecture import Architecture, ArchitectureError
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.manifest import WeightsError
from model.networks.builder import build, load_classifier
from model.networks.fcn import FCN
from model.networks.servable import load_network, normalise
from model.networks.timm_backbone import TimmBackbone, measured_grid
from model.preprocessing import Preprocessing
from model.weights_file import load_weights
from tests.support.images import encode, make_photo
from tests.support.model.weights_files import save_net
from training.publishing.export_files import export_float32


@cache
def small(name: str) -> FCN:
    torch.manual_seed(0)
    return randomise(build("fcn8s", f"timm/{name}", 3, head_width=8)).eval()


@pytest.fixture(params=["test_convnext", pytest.param("test_efficientnet", marks=pytest.mark.long)])
def master(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "encoder.safetensors"
    save_net(path, small(request.param), ["ground", "disc", "square"], Preprocessing(side=(64, 128)))
    return path


def test_the_grid_is_measured_also_where_a_network_is_built_without_values() -> None:
    measured_grid.cache_clear()
    with torch.device("meta"):
        assert TimmBackbone("test_convnext", 32).grid == "half_pixel"


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext"])
def test_a_classifier_of_timm_fills_the_encoder_which_computes_what_it_computes(name: str) -> None:
    torch.manual_seed(1)
    classifier = randomise(timm.create_model(name, pretrained=False, num_classes=5)).eval()
    net = build("fcn8s", f"timm/{name}", 3, head_width=8).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        before = net.backbone(images).last
        load_classifier(net, classifier.state_dict())
        last = classifier.forward_intermediates(images, intermediates_only=True)[-1]
        assert not torch.allclose(before, last)
        torch.testing.assert_close(net.backbone(images).last, last)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/no_such_encoder", {}, "timm has no encoder 'no_such_encoder'"),
        ("timm/hf-hub:someone/model", {}, "backbone must be one of .*timm/NAME, got 'timm/hf-hub:someone/model'"),
        ("timm/test_vit", {}, "timm/test_vit has maps of strides 16, 16.*; needed are 8, 16 and 32"),
        ("timm/tf_mobilenetv3_small_minimal_100", {}, r"on neither grid .* such as mobilenetv3_small_minimal_100"),
        ("timm/test_convnext", {"output_stride": 16}, "on neither grid"),
        ("timm/test_convnext", {"decoder": "interpolated"}, "timm/test_convnext needs the decoder aligned, got interpolated"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        build("fcn8s", name, 3, **options)


def test_building_draws_as_many_random_numbers_whether_or_not_the_grid_was_measured_before() -> None:
    def draw() -> torch.Tensor:
        torch.manual_seed(5)
        TimmBackbone("test_convnext2", 32)
        return torch.rand(1)

    assert torch.equal(draw(), draw())


def test_the_served_network_computes_what_the_trained_one_computes(master: Path) -> None:
    weights = load_weights(master)
    tile = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    result = TorchRuntime(weights, "cpu", "float32").logits([tile])[0]
    images = normalise(torch.from_numpy(tile).permute(2, 0, 1)[None], weights.manifest.preprocessing)
    with torch.inference_mode():
        reference = load_network(weights).scores(images)[0]
    assert reference.std() > 0.1
    np.testing.assert_allclose(result, reference.numpy(), atol=1e-4)


@pytest.mark.long
def test_an_export_serves_without_timm_and_the_master_says_what_is_missing(
    master: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, export = load_weights(master), export_float32(master)
    tile = np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8)
    expected = TorchRuntime(weights, "cpu", "float32").logits([tile])[0]
    monkeypatch.setitem(sys.modules, "timm", None)
    runtime = OpenVINORuntime(export)
    np.testing.assert_allclose(runtime.logits([tile])[0], expected, atol=1e-3)
    photo = encode(make_photo(45, 83))
    assert Segmenter(runtime)(photo).class_map.shape == decode(photo, Limits()).shape[:2]
    with pytest.raises(WeightsError, match=r"needs timm: .*timm"):
        load_network(weights)


def test_the_names_of_architectures_are_checked_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert Architecture("fcn8s", "timm/convnext_tiny", 3).to_dict()["backbone"] == "timm/convnext_tiny"
