"""Our networks compute what their sources describe: equal weights give equal logits, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from zlib import crc32

import pytest
import torch
from torch import Tensor, nn

from model.networks.fcn import FCN
from tests.support.model.reference.pairs import PAIRS, Pair

SIZES = [(33, 35), (45, 63), (51, 97), (67, 33), (75, 101), (89, 57), (99, 91)]
Draw = Callable[[str, torch.Size], Tensor]


# padded to 231 to 299 pixels a side, seven images take two networks of 134 million parameters ten seconds
ALL = [
    pytest.param(name, marks=pytest.mark.long) if name.startswith("released") or name.endswith(("16s", "32s")) else name
    for name in PAIRS
]


@pytest.fixture(scope="module")
def draw() -> Iterator[Draw]:
    """Draws tensors by their name and shape; two networks that have one in common share its memory."""

    @cache
    def tensor(name: str, shape: torch.Size) -> Tensor:
        torch.manual_seed(crc32(name.encode()))
        if name.endswith("num_batches_tracked"):
            return torch.tensor(0)
        if len(shape) > 1:
            return torch.randn(shape) * (2 / shape[1:].numel()) ** 0.5
        if name.endswith(("running_var", "weight")):  # of a batch norm
            return torch.rand(shape) + 0.5
        return torch.randn(shape) * 0.1

    yield tensor
    tensor.cache_clear()


def same(pair: Pair, draw: Draw) -> tuple[FCN, nn.Module]:
    """Ours and the reference in evaluation mode, with the same weights."""
    ours, theirs = pair.ours(), pair.theirs()
    state = {name: draw(name, tensor.shape) for name, tensor in ours.state_dict().items()}
    ours.load_state_dict(state, assign=True)
    layers = [name.rpartition(".") for name in theirs.state_dict()]
    tensors = {f"{layer}.{tensor}": state[f"{pair.names[layer]}.{tensor}"] for layer, _, tensor in layers}
    theirs.load_state_dict(tensors, assign=True)
    return ours.eval(), theirs.eval()


@pytest.mark.parametrize("name", PAIRS)
def test_ours_has_the_parameters_of_the_source(name: str) -> None:
    pair = PAIRS[name]
    ours = {layer: parameter.shape for layer, parameter in pair.ours().named_parameters()}
    theirs = {
        f"{pair.names[layer.rpartition('.')[0]]}.{layer.rpartition('.')[2]}": parameter.shape
        for layer, parameter in pair.theirs().named_parameters()
    }
    assert ours == theirs
    assert sum(shape.numel() for shape in ours.values()) == pair.parameters


@pytest.mark.parametrize("name", ALL)
def test_equal_weights_give_equal_logits_at_seven_odd_sizes(name: str, draw: Draw) -> None:
    pair = PAIRS[name]
    ours, theirs = same(pair, draw)
    torch.manual_seed(1)
    with torch.inference_mode():
        for height, width in SIZES:
            images = torch.randn(1, 3, height, width)
            logits = ours(images)
            assert logits.shape == (1, pair.classes, height, width)
            assert logits.isfinite().all()
            assert len(logits.argmax(1).unique()) > 1
            assert torch.equal(logits, theirs(images)), (height, width)


@pytest.mark.parametrize("name", ALL)
def test_in_training_ours_has_the_layers_of_the_source_too(name: str, draw: Draw) -> None:
    """Equal weights give equal logits, also with batch norm's statistics of the batch. The references have no dropout."""
    pair = PAIRS[name]
    ours, theirs = (net.train() for net in same(replace(pair, options=pair.options | {"dropout": 0.0}), draw))
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))
