"""What a training may start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.models import mobilenet_v2

from benchmarks.harness.narrow import narrow_net
from model.architecture import Architecture
from model.networks.builder import build, build_network
from model.networks.fcn import FCN
from model.preprocessing import Preprocessing
from model.weights_file import Weights, save_weights
from training.learning.starts import load_start, start_preprocessing

OURS = Architecture("fcn8s", "mobilenet_v2", 4, 16, "pooled", 16, 0.1)


def scramble(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every floating-point tensor of the state, drawn anew."""
    generator = torch.Generator().manual_seed(7)
    return {n: torch.rand(t.shape, generator=generator) if t.is_floating_point() else t for n, t in state.items()}


def kept_names(net: FCN, new: list[str]) -> list[str]:
    return [name for name in net.state_dict() if name not in new and not name.endswith("num_batches_tracked")]


def test_none_starts_anew() -> None:
    net = build_network(OURS)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert load_start(net, "none") == sorted(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_our_own_file_is_loaded_whole(narrow_file: Path) -> None:
    source = narrow_net()
    net = build_network(source.architecture)
    assert load_start(net, str(narrow_file)) == []
    for name, tensor in source.state_dict().items():
        assert torch.allclose(net.state_dict()[name].float(), tensor.float(), rtol=1e-3, atol=1e-3), name
        assert net.state_dict()[name].dtype == tensor.dtype


def test_scores_of_another_number_of_classes_stay_new(narrow_file: Path) -> None:
    torch.manual_seed(3)
    net = build_network(Architecture("fcn8s", "mobilenet_v2", 7, 16, "fc", 16, 0.1))
    before = net.score_fr.weight.clone()
    new = load_start(net, str(narrow_file))
    layers = {name.split(".")[0] for name in new}
    assert layers == {"score_fr", "score_pool4", "score_pool3", "upscore_pool4"}
    assert torch.equal(net.score_fr.weight, before)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_torchvision_classifier_fills_the_backbone(tmp_path: Path, ending: str) -> None:
    state = scramble(mobilenet_v2(weights=None, width_mult=0.1).state_dict())
    path = tmp_path / f"classifier.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    net = build_network(OURS)
    new = load_start(net, str(path))
    assert all(not name.startswith("backbone.") for name in new)
    assert "score_fr.weight" in new
    assert "head.aspp0.weight" in new
    names = kept_names(net, new)
    assert len(names) > 200
    for name in names:
        assert torch.equal(net.state_dict()[name], state[name.removeprefix("backbone.")]), name


def deeplab_state(classes: int, width: int = 16) -> dict[str, Tensor]:
    """A published DeepLabv3's names: `features.*`, and a head whose score layer is `logits`."""
    donor = build_network(Architecture("fcn32s", "mobilenet_v2", classes, 16, "pooled", width, 0.1)).state_dict()
    renamed_tensors = {
        name.replace("backbone.features.", "features.").replace("score_fr.", "head.logits."): tensor
        for name, tensor in donor.items()
    }
    return scramble(renamed_tensors)


def test_a_deeplab_fills_backbone_head_and_scores(tmp_path: Path) -> None:
    state = deeplab_state(4)
    save_file(state, tmp_path / "deeplab.safetensors")
    net = build_network(OURS)
    new = load_start(net, str(tmp_path / "deeplab.safetensors"))
    assert {name.split(".")[0] for name in new} == {"score_pool4", "score_pool3", "upscore_pool4"}
    result = net.state_dict()
    assert torch.equal(result["score_fr.weight"], state["head.logits.weight"])
    assert torch.equal(result["score_fr.bias"], state["head.logits.bias"])
    for layer in ("image_pooling", "aspp0", "concat_projection"):
        assert torch.equal(result[f"head.{layer}.weight"], state[f"head.{layer}.weight"])
    for name in kept_names(net, new):
        if name.startswith("backbone."):
            assert torch.equal(result[name], state[name.removeprefix("backbone.")])


def test_rows_of_a_start_of_other_classes_become_the_scores(tmp_path: Path) -> None:
    state = deeplab_state(21)
    save_file(state, tmp_path / "deeplab.safetensors")
    net, rows = build_network(OURS), [8, 0, 20, 8]
    new = load_start(net, str(tmp_path / "deeplab.safetensors"), rows)
    assert not any(name.startswith("score_fr.") for name in new)
    assert torch.equal(net.state_dict()["score_fr.weight"], state["head.logits.weight"][rows])
    assert torch.equal(net.state_dict()["score_fr.bias"], state["head.logits.bias"][rows])
    for wrong in ([1, 2, 3], [1, 2, 3, 21]):
        with pytest.raises(
            ValueError, match=r"start_rows must name, for each of 4 classes, one of the start's 21, or -1 for a new one; got "
        ):
            load_start(net, str(tmp_path / "deeplab.safetensors"), wrong)


def test_a_mobilenet_edgetpu_is_filled_by_its_own_names_and_fed_as_it_was_trained(tmp_path: Path) -> None:
    architecture = Architecture("fcn8s", "mobilenet_edgetpu", 4, 16, "pooled", 16)
    donor = scramble(build_network(architecture).state_dict())
    checkpoint = {
        name.removeprefix("backbone.").replace("score_fr.", "head.logits."): tensor
        for name, tensor in donor.items()
        if name.startswith(("backbone.", "head.", "score_fr."))
    }
    save_file(checkpoint, tmp_path / "edgetpu.safetensors")
    net = build_network(architecture)
    new = load_start(net, str(tmp_path / "edgetpu.safetensors"))
    assert {name.split(".")[0] for name in new} == {"score_pool4", "score_pool3", "upscore_pool4"}
    assert all(torch.equal(net.state_dict()[name], donor[name]) for name in kept_names(net, new))
    preprocessing = start_preprocessing(net.architecture.backbone, str(tmp_path / "edgetpu.safetensors"))
    assert (preprocessing.scale, preprocessing.mean[0], preprocessing.std[0]) == (1 / 128, 1.0, 1.0)
    with pytest.raises(ValueError, match="torchvision publishes no weights of mobilenet_edgetpu"):
        load_start(net, "imagenet")


def test_a_float16_start_is_loaded_as_float32(tmp_path: Path) -> None:
    state = {n: t.half() if t.is_floating_point() else t for n, t in deeplab_state(4).items()}
    save_file(state, tmp_path / "half.safetensors")
    net = build_network(OURS)
    load_start(net, str(tmp_path / "half.safetensors"))
    assert {t.dtype for t in net.state_dict().values() if t.is_floating_point()} == {torch.float32}
    assert torch.equal(net.score_fr.weight, load_file(tmp_path / "half.safetensors")["head.logits.weight"].float())


def test_a_file_of_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    save_file({"head.logits.weight": torch.zeros(4, 16, 1, 1)}, tmp_path / "head.safetensors")
    with pytest.raises(ValueError, match=r"head\.safetensors holds no tensor of a mobilenet_v2 of width 0\.1"):
        load_start(build_network(OURS), str(tmp_path / "head.safetensors"))


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_damaged_file_raises_a_value_error_that_names_it(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(b"not weights at all " * 10)
    with pytest.raises(ValueError, match=rf"damaged\.{ending}"):
        load_start(build_network(OURS), str(path))


def test_pixels_are_fed_as_the_start_was(tmp_path: Path, narrow: Weights) -> None:
    net = build_network(OURS)
    assert start_preprocessing(net.architecture.backbone, "none") == Preprocessing()
    assert start_preprocessing(net.architecture.backbone, "imagenet").mean == (0.485, 0.456, 0.406)
    torch.save({}, tmp_path / "published.pth")
    assert start_preprocessing(net.architecture.backbone, str(tmp_path / "published.pth")).std == (0.229, 0.224, 0.225)
    other = replace(narrow.manifest, preprocessing=Preprocessing(mean=(0.1, 0.2, 0.3), side=(64, 64)))
    save_weights(tmp_path / "ours.safetensors", narrow.tensors, other)
    assert start_preprocessing(net.architecture.backbone, str(tmp_path / "ours.safetensors")).mean == (0.1, 0.2, 0.3)


def test_a_start_may_be_a_name_in_weights() -> None:
    net = build("fcn8s", "mobilenet_v2", 5, output_stride=16, head="pooled")
    new = load_start(net, "voc-fcn8s-mobilenet-v2")
    assert {name.split(".")[0] for name in new} == {"score_fr", "score_pool4", "score_pool3", "upscore_pool4"}
    with pytest.raises(ValueError, match="no weights file 'voc-fcn9s'"):
        load_start(net, "voc-fcn9s")


@pytest.mark.parametrize("ending", ["pth", "pt", "ckpt"])
@pytest.mark.parametrize("part", ["", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_s_tensors_are_found_where_other_trainings_put_them(
    tmp_path: Path, ending: str, part: str, prefix: str
) -> None:
    state = scramble(narrow_net().state_dict())
    tensors = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    torch.save({part: tensors, "epoch": 3} if part else tensors, tmp_path / f"a.{ending}")
    net = build_network(narrow_net().architecture)
    assert load_start(net, str(tmp_path / f"a.{ending}")) == []
    assert torch.equal(net.score_fr.weight, state["score_fr.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({0: torch.zeros(3)}, "it has no tensors by name: 0"),
        ({"backbone.x": 3}, "it has no tensors by name: backbone.x"),
        ([1, 2], "must hold a state dict, got list"),
        (torch.nn.Linear(2, 2), "is not a state dict .UnpicklingError.: damaged, or more than tensors"),
    ],
    ids=["numbers", "values", "list", "network"],
)
def test_a_file_of_other_things_is_refused_in_a_line(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth .*{message}") as error_info:
        load_start(build_network(OURS), str(tmp_path / "a.pth"))
    assert "\n" not in str(error_info.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_start_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    state = narrow_net().state_dict()
    state["score_fr.bias"] = torch.full_like(state["score_fr.bias"], value)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: score_fr\.bias holds infinity or NaN"):
        load_start(build_network(OURS), str(tmp_path / "a.pth"))


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_file_of_timm_fills_an_encoder_of_timm_and_is_fed_as_timm_says(tmp_path: Path, ending: str) -> None:
    state = scramble(timm.create_model("test_convnext", pretrained=False).state_dict())
    assert any(name.startswith("head.") for name in state)
    path = tmp_path / f"encoder.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    net = build("fcn8s", "timm/test_convnext", 3, head_width=8)
    new = load_start(net, str(path))
    assert all(not name.startswith("backbone.") for name in new)
    assert torch.equal(net.state_dict()["backbone.encoder.stem_0.weight"], state["stem.0.weight"])
    config = timm.get_pretrained_cfg("test_convnext")
    assert config is not None
    preprocessing = start_preprocessing("timm/test_convnext", str(path))
    assert (preprocessing.mean, preprocessing.std) == (config.mean, config.std)
