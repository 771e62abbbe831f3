"""What a training may start from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import mobilenet_v2

from benchmarks.harness.narrow import narrow_net
from model.architecture import Architecture
from model.networks.builder import build, build_network
from model.networks.fcn import FCN
from model.preprocessing import Preprocessing
from model.weights_file import Weights, save_weights
from training.learning.starts import read_start

OURS = Architecture("fcn8s", "mobilenet_v2", 4, 16, "pooled", 16, 0.1)


def scramble(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every floating-point tensor of the state, drawn anew."""
    generator = torch.Generator().manual_seed(7)
    return {n: torch.rand(t.shape, generator=generator) if t.is_floating_point() else t for n, t in state.items()}


def kept_names(net: FCN, new: list[str]) -> list[str]:
    return [name for name in net.state_dict() if name not in new and not name.endswith("num_batches_tracked")]


def test_our_own_file_is_loaded_whole(narrow_file: Path) -> None:
    source = narrow_net()
    net = build_network(source.architecture)
    assert read_start(str(narrow_file)).load(net) == []
    torch.testing.assert_close(net.state_dict(), source.state_dict(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_torchvision_classifier_fills_the_backbone(tmp_path: Path, ending: str) -> None:
    state = scramble(mobilenet_v2(weights=None, width_mult=0.1).state_dict())
    path = tmp_path / f"classifier.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    net = build_network(OURS)
    new = read_start(str(path)).load(net)
    assert {"score_fr.weight", "head.aspp0.weight"} <= set(new)
    names = kept_names(net, new)
    assert [name for name in net.state_dict() if name.startswith("backbone.") and not name.endswith("_tracked")] == names
    assert all(torch.equal(net.state_dict()[name], state[name.removeprefix("backbone.")]) for name in names)


@pytest.mark.parametrize(
    "architecture", [OURS, Architecture("fcn8s", "mobilenet_edgetpu", 4, 16, "pooled", 16)], ids=lambda each: each.backbone
)
def test_a_deeplab_fills_backbone_head_and_scores_by_its_own_names(tmp_path: Path, architecture: Architecture) -> None:
    """Its backbone's names have no prefix, and its score layer is `logits` of the head."""
    state = {n: t.half() if t.is_floating_point() else t for n, t in scramble(build_network(architecture).state_dict()).items()}
    tensors = {
        name.removeprefix("backbone.").replace("score_fr.", "head.logits."): tensor
        for name, tensor in state.items()
        if name.startswith(("backbone.", "head.", "score_fr."))
    }
    file = str(tmp_path / "deeplab.safetensors")
    save_file(tensors, file)
    net = build_network(architecture)
    new = read_start(file).load(net)
    assert {name.split(".")[0] for name in new} == {"score_pool4", "score_pool3", "upscore_pool4"}
    assert all(torch.equal(net.state_dict()[name], state[name].float()) for name in kept_names(net, new))
    assert read_start(file).load(net, [3, 0, 2, 3]) == new
    for rows in ([-1, -1, -1, -1], [3, -1, 2, 0]):
        assert read_start(file).load(build_network(architecture), rows) == sorted([*new, "score_fr.bias", "score_fr.weight"])
    assert torch.equal(net.state_dict()["score_fr.weight"], state["score_fr.weight"][[3, 0, 2, 3]].float())
    with pytest.raises(ValueError, match="start_rows must name, for each of 4 classes, one of the start's 4, or -1"):
        read_start(file).load(net, [1, 2, 3, 4])


def test_a_mobilenet_edgetpu_is_fed_as_it_was_trained(tmp_path: Path) -> None:
    save_file({"first": torch.ones(1)}, tmp_path / "edgetpu.safetensors")
    preprocessing = read_start(str(tmp_path / "edgetpu.safetensors")).preprocessing("mobilenet_edgetpu")
    assert (preprocessing.scale, preprocessing.mean[0], preprocessing.std[0]) == (1 / 128, 1.0, 1.0)
    with pytest.raises(ValueError, match="torchvision publishes no weights of mobilenet_edgetpu"):
        read_start("imagenet").load(build("fcn8s", "mobilenet_edgetpu", 4, output_stride=16))


def test_without_the_internet_a_line_says_what_to_download_and_that_a_file_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    net = build("fcn8s", "mobilenet_v2", 4, output_stride=16, head="pooled", head_width=16)
    with pytest.raises(
        ValueError, match=r"refused.*; download (https://download\.pytorch\.org/\S+), .* --start FILE$"
    ) as error_info:
        read_start("imagenet").load(net)
    assert "\n" not in str(error_info.value)
    name = str(error_info.value).partition("; download ")[2].split(",")[0].rpartition("/")[2]
    file = tmp_path / "hub" / "checkpoints" / name
    file.write_bytes(b"<html>")
    with pytest.raises(ValueError, match=f"cannot be read.*{re.escape(name)}"):
        read_start("imagenet").load(net)
    torch.save(scramble(mobilenet_v2(weights=None).state_dict()), file)
    for start in (str(file), "imagenet"):
        assert not [each for each in read_start(start).load(net) if each.startswith("backbone.")]


def test_pixels_are_fed_as_the_start_was(tmp_path: Path, narrow: Weights) -> None:
    assert read_start("none").preprocessing("mobilenet_v2") == Preprocessing()
    assert read_start("imagenet").preprocessing("mobilenet_v2").mean == (0.485, 0.456, 0.406)
    torch.save({"features.0.0.weight": torch.ones(1)}, tmp_path / "published.pth")
    assert read_start(str(tmp_path / "published.pth")).preprocessing("mobilenet_v2").std == (0.229, 0.224, 0.225)
    other = replace(narrow.manifest, preprocessing=Preprocessing(mean=(0.1, 0.2, 0.3), side=(64, 64)))
    save_weights(tmp_path / "ours.safetensors", narrow.tensors, other)
    assert read_start(str(tmp_path / "ours.safetensors")).preprocessing("mobilenet_v2").mean == (0.1, 0.2, 0.3)


def test_a_start_may_be_a_name_in_weights() -> None:
    net = build("fcn8s", "mobilenet_v2", 5, output_stride=16, head="pooled")
    new = read_start("voc-fcn8s-mobilenet-v2").load(net)
    assert {name.split(".")[0] for name in new} == {"score_fr", "score_pool4", "score_pool3", "upscore_pool4"}
    with pytest.raises(ValueError, match="no weights file 'voc-fcn9s'"):
        read_start("voc-fcn9s").load(net)


@pytest.mark.parametrize(
    ("ending", "part", "prefix"), [("pth", "", "module."), ("pt", "state_dict", ""), ("ckpt", "model", "module.")]
)
def test_a_network_s_tensors_are_found_where_other_trainings_put_them(
    tmp_path: Path, ending: str, part: str, prefix: str
) -> None:
    state = scramble(narrow_net().state_dict())
    tensors = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    torch.save({part: tensors, "epoch": 3} if part else tensors, tmp_path / f"a.{ending}")
    net = build_network(narrow_net().architecture)
    assert read_start(str(tmp_path / f"a.{ending}")).load(net) == []
    assert torch.equal(net.score_fr.weight, state["score_fr.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({0: torch.zeros(3)}, "it has no tensors by name: 0"),
        ([1, 2], "must hold a state dict, got list"),
        ({"head.logits.weight": torch.zeros(4, 16, 1, 1)}, r"holds no tensor of a mobilenet_v2 of width 0\.1"),
        (torch.nn.Linear(2, 2), "is not a state dict .UnpicklingError.: damaged, or more than tensors"),
        ({"backbone.a": torch.ones(2), "score_fr.bias": torch.tensor([torch.inf])}, r"score_fr\.bias holds infinity or NaN"),
    ],
    ids=["numbers", "list", "nothing fits", "network", "infinity"],
)
def test_a_file_of_other_things_is_refused_in_a_line(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth:? .*{message}") as error_info:
        read_start(str(tmp_path / "a.pth")).load(build_network(OURS))
    assert "\n" not in str(error_info.value)
    (tmp_path / "a.safetensors").write_bytes(b"not weights at all " * 10)
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged, or is not a safetensors file"):
        read_start(str(tmp_path / "a.safetensors")).load(build_network(OURS))


def test_a_file_of_timm_fills_an_encoder_of_timm_and_is_fed_as_timm_says(tmp_path: Path) -> None:
    encoder = timm.create_model("test_convnext", pretrained=False)
    state = scramble(encoder.state_dict())
    assert any(name.startswith("head.") for name in state)
    path = tmp_path / "encoder.safetensors"
    save_file(state, path)
    net = build("fcn8s", "timm/test_convnext", 3, head_width=8)
    new = read_start(str(path)).load(net)
    assert all(not name.startswith("backbone.") for name in new)
    assert torch.equal(net.state_dict()["backbone.encoder.stem_0.weight"], state["stem.0.weight"])
    preprocessing = read_start(str(path)).preprocessing("timm/test_convnext")
    assert (preprocessing.mean, preprocessing.std) == (encoder.pretrained_cfg["mean"], encoder.pretrained_cfg["std"])
