"""A network as a recorded graph, which runs without Python: threads that run it do not wait for each other's interpreter."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

Scores = Callable[[Tensor], Tensor]
SIDES = ((64, 96), (96, 32))


class ScoresModule(nn.Module):
    """A network's `scores` as the module's call, which is what can be traced."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.net.scores(images)  # type: ignore[operator]
        return scores


def traced(net: nn.Module, dtype: torch.dtype) -> Scores:
    """The network's `scores` of normalised images, traced and frozen; as they are where tracing changes a bit of them.

    The network must be in evaluation mode, on a CPU, channels last.
    """
    scores: Scores = net.scores  # type: ignore[assignment]
    examples = [torch.rand(1, 3, *side).to(dtype).to(memory_format=torch.channels_last) for side in SIDES]
    with warnings.catch_warnings(), torch.inference_mode():
        # deprecated in favour of compilers, which take minutes for all of a tile's shapes; without it, all still works
        warnings.simplefilter("ignore")
        try:
            graph: Scores = torch.jit.freeze(torch.jit.trace(ScoresModule(net).eval(), examples[0], check_trace=False))  # type: ignore[no-untyped-call]
            same = all(torch.equal(graph(example), scores(example)) for example in examples * 3)
        except (AttributeError, RuntimeError):
            return scores
    return graph if same else scores
