"""A start's score layers for other classes: by name, in another order, with new ones among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.architecture import Architecture
from model.networks.builder import build_network
from model.networks.fcn import FCN
from tests.support.variants import long
from training.data.network_classes import NEW, match_rows
from training.learning.start_scores import class_axes, match_lines, score_lines, score_tensors, scores_of_classes

pytestmark = pytest.mark.usefixtures("quick_vgg16")
START = ["background", "cat", "traffic light", "sheep", "Person"]
NETWORKS = {
    "aligned": Architecture("fcn8s", "mobilenet_v2", 5, 16, "pooled", 8, 0.1),
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


@pytest.mark.parametrize("name", ["aligned", "learned", *long(*sorted(set(NETWORKS) - {"aligned", "learned"}))])
@torch.no_grad()
def test_classes_in_another_order_have_the_start_s_logits(name: str, image: Tensor) -> None:
    source, order = donor(NETWORKS[name]), [3, 0, 4, 1, 2]
    assert torch.allclose(with_rows(source, order)(image), source(image)[:, order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [[4, 0], [2, 2, 1]], ids=["fewer", "two of one row"])
@torch.no_grad()
def test_some_rows_have_the_start_s_logits_where_no_class_leads_to_another(rows: list[int], image: Tensor) -> None:
    source = donor(NETWORKS["aligned"], classes_apart=True)
    assert torch.allclose(with_rows(source, rows)(image), source(image)[:, rows], rtol=1e-4, atol=1e-4)


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


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["background", "sheep"], (0, 3)),
        (["cat", "dog"], (1, NEW)),
        (["Traffic-Light", "traffic_light", "person"], (2, 2, 4)),
        (["background", "leaf"], (NEW, NEW)),  # background alone says nothing
    ],
)
def test_classes_are_matched_by_name(names: list[str], rows: tuple[int, ...]) -> None:
    assert match_rows(names, START) == rows
    assert match_rows(["Car", "car", "CAR"], ["car", "Car"]) == (1, 0, 0), "a name that is spelled the same comes first"


def test_lines_say_what_is_known_new_and_left_over() -> None:
    assert [match_lines(names, START, match_rows(names, START)) for names in (["cat", "dog"], START, ["leaf"])] == [
        ["the start knows 1 of 2 classes by name: cat; new: dog; 4 of the start's classes are not in the data"],
        ["the start knows all 5 classes by name: background, cat, traffic light, sheep, Person"],
        ["no class has the name of one of the start's 5: the scores of all 1 are new"],
    ]


UNASKED = np.zeros((4, 5), np.int64)
"""What a start of five classes says of four, where it was not asked."""


def test_what_the_data_lacks_counts_as_background() -> None:
    names = ["dog", "Background", "cat"]
    assert scores_of_classes([4, 0, 2], names, [1] * 5, UNASKED[:3]) == ((4,), (0, 1, 3), (2,))
    assert scores_of_classes([2, 0, 1], names, [1, 3, 2], UNASKED[:3, :3]) == ((4, 5), (0,), (1, 2, 3))
    without = scores_of_classes([4, NEW, 2], names, [1] * 5, UNASKED[:3])
    assert without == ((4,), (NEW,), (2,))  # a background that the start does not know has nothing


def test_a_new_class_has_the_scores_of_what_the_start_says_there() -> None:
    answers = np.array([[9, 1, 0, 3, 0], [0, 90, 0, 0, 2], [1, 0, 0, 8, 6], [40, 0, 0, 5, 4]])
    names = ["background", "cat", "hoofed", "sign"]
    scores = scores_of_classes([0, 1, NEW, NEW], names, [1] * 5, answers)
    assert scores == ((0, 2), (1,), (3, 4), (NEW,))  # a class that it says of nothing (2) is background
    answers[2, 0] = 20  # most of the class is background to the start
    assert scores_of_classes([0, 1, NEW, NEW], names, [1] * 5, answers) == ((0, 2), (1,), (3, 4, NEW), (NEW,))


def test_lines_say_which_of_the_start_s_classes_count_for_others() -> None:
    assert score_lines(["background", "person", "hoofed"], ((0, 2), (4,), (1, 3, NEW)), START, [1] * 5) == [
        "what the start says is traffic light counts as background",
        "what the start says is cat, sheep counts as hoofed; it also has a new score",
    ]


@torch.no_grad()
def test_the_untrained_network_answers_as_the_start_does(image: Tensor) -> None:
    source = donor(NETWORKS["aligned"])
    scores = scores_of_classes([3, 0], ["sheep", "background"], [1] * 5, UNASKED[:2])
    net = build_network(replace(source.architecture, num_classes=2, class_scores=tuple(map(len, scores)))).eval()
    net.load_state_dict(source.state_dict() | score_tensors(net, source.state_dict(), sum(scores, ())))
    expected = source.scores(image).softmax(1)
    assert torch.allclose(net.scores(image).softmax(1)[:, 0], expected[:, 3], rtol=1e-4, atol=1e-4)
