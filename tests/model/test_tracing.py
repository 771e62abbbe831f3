"""Traced networks give the scores of those that they were traced from, always in the same bits, or are not used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model.builder import build
from model.fcn import FCN
from model.folding import fold_batch_norm
from model.predictor import PixelScores
from model.preprocessing import Preprocessing
from model.tracing import recorded, traced
from tests.conftest import narrow_net, randomise


def pixels(*size: int) -> Tensor:
    return torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8)


EXAMPLES = pixels(64, 96), pixels(96, 32)


def pixel_scores(net: FCN, dtype: torch.dtype = torch.float32) -> PixelScores:
    net.to(dtype).to(memory_format=torch.channels_last)
    return PixelScores(net, Preprocessing(), torch.device("cpu"), dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [(32, 32), (96, 160), (512, 384), (33, 70)], ids=str)
def test_every_size_has_the_same_scores(dtype: torch.dtype, size: tuple[int, int]) -> None:
    net = narrow_net()
    fold_batch_norm(net)
    scores = pixel_scores(net, dtype)
    graph = traced(scores, *EXAMPLES)
    assert isinstance(graph, torch.jit.ScriptModule)
    given = pixels(*size)
    with torch.inference_mode():
        found = [graph(given) for _ in range(4)]
        assert all(torch.equal(found[0], each) for each in found)
        expected = scores(given)
    furthest = float((found[0] - expected).abs().max() / expected.abs().max())
    assert furthest < {torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]


@pytest.mark.parametrize("decoder", ["interpolated", "learned"])
def test_other_members_have_the_same_scores_traced_or_not(decoder: str) -> None:
    options = {"width": 0.1, "head": "none", "output_stride": 32}
    variant = "fcn16s" if decoder == "learned" else "fcn8s"
    scores = pixel_scores(randomise(build(variant, "mobilenet_v2", 3, decoder=decoder, **options)).eval())
    graph = traced(scores, *EXAMPLES)
    with torch.inference_mode():
        for size in ((64, 64), (96, 224)):
            torch.testing.assert_close(graph(given := pixels(*size)), scores(given))


def test_a_module_that_tracing_would_change_stays_as_it_is() -> None:
    class Moody(nn.Module):
        """Its result depends on the image's size in a way that a graph cannot follow."""

        def forward(self, given: Tensor) -> Tensor:
            return given * float(given.shape[1])

    module = Moody().eval()
    assert traced(module, *EXAMPLES) is module


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["none", "half", "all"])
def test_a_graph_whose_bits_change_from_run_to_run_is_not_used(share: float) -> None:
    class Restless(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            wide = given.float()
            return wide + share * 1e-4 * torch.rand_like(wide)

    module = Restless().eval()
    assert (traced(module, *EXAMPLES) is module) == (share > 0)


def test_a_module_that_cannot_be_traced_stays_as_it_is() -> None:
    class Wordy(nn.Module):
        def forward(self, given: Tensor) -> str:
            return "scores"

    module = Wordy().eval()
    assert traced(module, *EXAMPLES) is module


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
