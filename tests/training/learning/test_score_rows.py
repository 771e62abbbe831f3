"""A start's score layers for other classes: by name, in another order, with new ones among them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.architecture import Architecture
from model.networks.builder import build_network
from model.networks.fcn import FCN
from training.learning.score_rows import NEW, class_axes, match_lines, match_rows, score_tensors

pytestmark = pytest.mark.usefixtures("quick_vgg16")
START = ["background", "cat", "traffic light", "sheep", "Person"]
NETWORKS = {
    "aligned": Architecture("fcn8s", "mobilenet_v2", 5, 16, "pooled", 8, 0.1),
    "aligned, stride 32": Architecture("fcn8s", "mobilenet_v2", 5, 32, "fc", 8, 0.1),
    "aligned, wide skips": Architecture("fcn16s", "mobilenet_v2", 5, 16, "pooled", 8, 0.1, skip_width=4),
    "interpolated": Architecture("fcn8s", "mobilenet_v2", 5, 32, "fc", 8, 0.1, decoder="interpolated"),
    "transposed": Architecture("fcn32s", "mobilenet_v2", 5, 32, "none", 8, 0.1, decoder="transposed"),
    "learned": Architecture("fcn8s", "mobilenet_v2", 5, 32, "none", 8, 0.1, decoder="learned"),
    "padded": Architecture("fcn8s", "vgg16", 5, 32, "fc", 8, decoder="padded"),
    "shared": Architecture("fcn8s", "vgg16", 5, 32, "conv1x1", 8, decoder="shared"),
}


def donor(architecture: Architecture, *, classes_apart: bool = False) -> FCN:
    """A network whose score layers are drawn anew. classes_apart: layers from classes to classes stay as they begin."""
    net = build_network(architecture).eval()
    generator = torch.Generator().manual_seed(1)
    for name, axes in class_axes(architecture).items():
        tensor = net.state_dict()[name]
        if not (classes_apart and len(axes) == 2):
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return net


def with_rows(source: FCN, rows: list[int]) -> FCN:
    net = build_network(replace(source.architecture, num_classes=len(rows))).eval()
    state, of_classes = source.state_dict(), class_axes(source.architecture)
    others = {name: tensor for name, tensor in state.items() if name not in of_classes}
    net.load_state_dict(others | score_tensors(net, state, rows))
    return net


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_classes_in_another_order_have_the_start_s_logits(name: str, image: Tensor) -> None:
    source, order = donor(NETWORKS[name]), [3, 0, 4, 1, 2]
    assert torch.allclose(with_rows(source, order)(image), source(image)[:, order], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_fewer_classes_have_the_start_s_logits_where_no_class_leads_to_another(image: Tensor) -> None:
    source = donor(NETWORKS["aligned"], classes_apart=True)
    assert torch.allclose(with_rows(source, [4, 0])(image), source(image)[:, [4, 0]], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_two_classes_of_one_row_do_not_add_up(image: Tensor) -> None:
    source = donor(NETWORKS["aligned"], classes_apart=True)
    assert torch.allclose(with_rows(source, [2, 2, 1])(image), source(image)[:, [2, 2, 1]], rtol=1e-4, atol=1e-4)


def test_a_new_class_keeps_its_own_values() -> None:
    source = donor(NETWORKS["aligned"]).state_dict()
    net = build_network(replace(NETWORKS["aligned"], num_classes=3))
    own = net.state_dict()
    layers = score_tensors(net, source, [3, NEW, 1])
    assert set(layers) == set(class_axes(net.architecture))
    for name, axes in class_axes(net.architecture).items():
        assert torch.equal(layers[name][1], own[name][1]), name
        if len(axes) == 2:
            assert torch.equal(layers[name][:, 1], own[name][:, 1])
            assert torch.equal(layers[name][[0, 2]][:, [0, 2]], source[name][[3, 1]][:, [3, 1]])
        else:
            assert torch.equal(layers[name][[0, 2]], source[name][[3, 1]]), name


def test_a_layer_of_another_width_is_left_out() -> None:
    source = donor(NETWORKS["aligned"]).state_dict()
    net = build_network(replace(NETWORKS["aligned"], head_width=16))
    assert "score_fr.weight" not in score_tensors(net, source, [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["background", "sheep"], (0, 3)),
        (["cat", "dog"], (1, NEW)),
        (["Traffic-Light", "traffic_light", "person"], (2, 2, 4)),
        (["background", "leaf"], (NEW, NEW)),  # background alone says nothing
        (["leaf"], (NEW,)),
    ],
)
def test_classes_are_matched_by_name(names: list[str], rows: tuple[int, ...]) -> None:
    assert match_rows(names, START) == rows


def test_a_name_that_is_spelled_the_same_comes_first() -> None:
    assert match_rows(["Car", "car", "CAR"], ["car", "Car"]) == (1, 0, 0)


def test_lines_say_what_is_known_new_and_left_over() -> None:
    (line,) = match_lines(["cat", "dog"], START, (1, NEW))
    assert line == "the start knows 1 of 2 classes by name: cat; new: dog; 4 of the start's classes are not in the data"
    (line,) = match_lines(START, START, (0, 1, 2, 3, 4))
    assert line == "the start knows all 5 classes by name: background, cat, traffic light, sheep, Person"
    (line,) = match_lines(["leaf"], START, (NEW,))
    assert line == "no class has the name of one of the start's 5: the scores of all 1 are new"
    many = [f"class {number}" for number in range(9)]
    assert "class 5 and 3 more" in match_lines(many, many, tuple(range(9)))[0]
