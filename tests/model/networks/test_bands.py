"""Networks of more bands than photos have: they read them, and begin from weights of photos."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.harness.narrow import narrow_net
from model.architecture import Architecture, ArchitectureError
from model.manifest import Manifest, WeightsError
from model.networks.builder import build
from model.networks.fcn import FCN, see_bands
from model.networks.servable import ServableNetwork
from model.preprocessing import RGB, Preprocessing, PreprocessingError
from model.weights_file import load_weights
from tests.support.model.weights_files import save_net
from tests.support.training.runs import TINY_RECIPE
from training.commands.train_setup import start_network
from training.learning.recipe import make_recipe
from training.learning.starts import read_start

NAMES = ("red", "green", "blue", "near infrared", "height")
BACKBONES = ("mobilenet_v2", "mobilenet_edgetpu", "resnet18", "vgg16", "timm/resnet10t")


def first_weight(net: FCN) -> torch.Tensor:
    """The weights of the convolution that reads the images."""
    return next(parameter for parameter in net.backbone.parameters() if parameter.ndim == 4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_reads_them(backbone: str) -> None:
    options = {"output_stride": 16} if backbone == "mobilenet_edgetpu" else {}
    with torch.device("meta"):
        net = build("fcn32s", backbone, 2, head="none", bands=7, **options).eval()
        assert net(torch.empty(1, 7, 64, 96)).shape == (1, 2, 64, 96)
    assert first_weight(net).shape[1] == 7


def test_widened_weights_see_grey_as_those_of_photos_do() -> None:
    """Equal bands give what an equal red, green and blue gave, if the number of bands is a multiple of three."""
    net, wide = narrow_net(), narrow_net()
    see_bands(wide, 6)
    assert wide.architecture.bands == 6
    grey = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(net(grey.expand(1, 3, 64, 64)), wide(grey.expand(1, 6, 64, 64)), atol=1e-4)
    see_bands(four := narrow_net(), 4)
    assert torch.allclose(first_weight(four), first_weight(net)[:, [0, 1, 2, 0]] * 3 / 4)


def test_a_training_begins_from_a_file_of_photos_or_of_the_same_bands(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    recipe = make_recipe(tmp_path / "tiny.toml", {})
    of_photos = build("fcn8s", "mobilenet_v2", 2, output_stride=16, head="pooled", head_width=16, width=0.1)
    save_net(tmp_path / "photos.safetensors", of_photos, "ab")
    net, new_tensors = start_network(recipe, read_start(str(tmp_path / "photos.safetensors")), 2, 5)
    assert new_tensors == []
    name = "backbone.features.0.0.weight"
    weight = torch.tensor(load_weights(tmp_path / "photos.safetensors").tensors[name]).float()
    assert torch.allclose(net.state_dict()[name], weight[:, [0, 1, 2, 0, 1]] * 3 / 5)
    save_net(tmp_path / "wide.safetensors", net, "ab", Preprocessing().of_bands(NAMES))
    again, _ = start_network(recipe, read_start(str(tmp_path / "wide.safetensors")), 2, 5)
    assert torch.allclose(again.state_dict()[name], net.state_dict()[name], atol=1e-2)


def test_a_file_says_its_bands_and_one_of_photos_does_not(tmp_path: Path) -> None:
    net = narrow_net(bands=5)
    preprocessing = Preprocessing((0.1, 0.2, 0.3), (1.0, 1.0, 1.0)).of_bands(NAMES)
    assert preprocessing.mean == (0.1, 0.2, 0.3, 0.1, 0.2)
    manifest = save_net(tmp_path / "wide.safetensors", net, "abcd", preprocessing)
    weights = load_weights(tmp_path / "wide.safetensors")
    assert weights.manifest == manifest
    assert ServableNetwork(weights)(torch.zeros(1, 64, 64, 5, dtype=torch.uint8)).shape[:2] == (1, 4)
    assert "bands" not in Manifest(narrow_net().architecture, manifest.labels, Preprocessing(), "").to_json()
    document = Manifest(net.architecture, manifest.labels, Preprocessing(), "").to_json()
    with pytest.raises(WeightsError, match="the network sees 5 bands, its preprocessing has 3"):
        Manifest.from_json(document)


@pytest.mark.parametrize("bands", [2, 17])
def test_other_numbers_of_bands_are_refused(bands: int) -> None:
    with pytest.raises(ArchitectureError, match=f"bands must be 3 to 16, got {bands}"):
        Architecture("fcn8s", "resnet18", 2, bands=bands)
    with pytest.raises(PreprocessingError, match="bands must be 3 to 16 names"):
        Preprocessing((0.5,) * bands, (0.5,) * bands, bands=("x",) * bands)
    assert Preprocessing().bands == RGB
