"""Traced networks give the scores of those that they were traced from, always in the same bits, or are not used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model.builder import build
from model.folding import fold_batch_norm
from model.tracing import recorded, traced
from tests.conftest import narrow_net, randomise

LAST = torch.channels_last


def images(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(1, 3, *size).to(dtype).to(memory_format=LAST)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [(32, 32), (96, 160), (512, 384), (33, 70)], ids=str)
def test_every_size_has_the_same_scores(dtype: torch.dtype, size: tuple[int, int]) -> None:
    net = narrow_net()
    fold_batch_norm(net)
    net.to(dtype).to(memory_format=LAST)
    scores = traced(net, dtype)
    assert isinstance(scores, torch.jit.ScriptModule)
    given = images(*size, dtype=dtype)
    with torch.inference_mode():
        found = [scores(given) for _ in range(4)]
        assert all(torch.equal(found[0], each) for each in found)
        expected = net.scores(given)
    furthest = float((found[0] - expected).abs().max() / expected.abs().max())
    assert furthest < {torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]


@pytest.mark.parametrize("decoder", ["interpolated", "learned"])
def test_other_members_have_the_same_scores_traced_or_not(decoder: str) -> None:
    options = {"width": 0.1, "head": "none", "output_stride": 32}
    variant = "fcn16s" if decoder == "learned" else "fcn8s"
    net = randomise(build(variant, "mobilenet_v2", 3, decoder=decoder, **options)).eval().to(memory_format=LAST)
    scores = traced(net, torch.float32)
    with torch.inference_mode():
        for size in ((64, 64), (96, 224)):
            torch.testing.assert_close(scores(images_ := images(*size)), net.scores(images_))


def test_a_network_that_tracing_would_change_stays_as_it_is() -> None:
    class Moody(nn.Module):
        """Its result depends on the image's size in a way that a graph cannot follow."""

        def scores(self, given: Tensor) -> Tensor:
            return given * float(given.shape[2])

    net = Moody().eval()
    assert traced(net, torch.float32) == net.scores


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["none", "half", "all"])
def test_a_graph_whose_bits_change_from_run_to_run_is_not_used(share: float) -> None:
    class Restless(nn.Module):
        def scores(self, given: Tensor) -> Tensor:
            return given + share * 1e-6 * torch.rand_like(given)

    net = Restless().eval()
    assert (traced(net, torch.float32) == net.scores) == (share > 0)


def test_a_network_that_cannot_be_traced_stays_as_it_is() -> None:
    class Wordy(nn.Module):
        def scores(self, given: Tensor) -> str:
            return "scores"

    net = Wordy().eval()
    assert traced(net, torch.float32) == net.scores


def test_a_recorded_function_takes_tensors_of_any_size() -> None:
    def doubled(given: Tensor, places: Tensor) -> Tensor:
        return given.index_select(0, places) * given.shape[0]

    graph = recorded(doubled, torch.rand(3, 2), torch.tensor([1]))
    assert isinstance(graph, torch.jit.ScriptFunction)
    for rows, count in ((5, 2), (1, 4), (70, 0)):
        given, places = torch.rand(rows, 3), torch.randint(0, rows, (count,))
        assert torch.equal(graph(given, places), doubled(given, places))


def test_a_function_that_cannot_be_recorded_stays_as_it_is() -> None:
    def wordy(given: Tensor) -> str:
        return "logits"

    assert recorded(wordy, torch.rand(2)) is wordy
