"""Networks, and steps after them, as recorded graphs, which run without Python: threads that run them do not wait for each
other's interpreter."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Scores = Callable[[Tensor], Tensor]
T = TypeVar("T")
SIDES = ((64, 96), (96, 32))
RUNS = 3  # the first two are watched, and the graph is then optimised


class ScoresModule(nn.Module):
    """A network's `scores` as the module's call, which is what can be traced."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.net.scores(images)  # type: ignore[operator]
        return scores


def traced(net: nn.Module, dtype: torch.dtype) -> Scores:
    """The network's `scores` of normalised images, traced and frozen; as they are where a graph cannot follow them.

    A graph may round otherwise, since its operations need not choose the same kernels, yet always in the same way. The
    network must be in evaluation mode, on a CPU, channels last.
    """
    scores: Scores = net.scores  # type: ignore[assignment]
    examples = [torch.rand(1, 3, *side).to(dtype).to(memory_format=torch.channels_last) for side in SIDES]
    _silence_tracing()
    with torch.inference_mode():
        try:
            graph: Scores = torch.jit.freeze(torch.jit.trace(ScoresModule(net).eval(), examples[0], check_trace=False))  # type: ignore[no-untyped-call]
            follows = all(_follows(graph, scores, example) for example in examples)
        except (AttributeError, RuntimeError):
            return scores
    return graph if follows else scores


def recorded(function: Callable[..., T], *example: Tensor) -> Callable[..., T]:
    """A function of tensors alone as a graph for tensors of any size, or itself where it cannot be recorded.

    It must not look into its tensors, nor know them but by their shapes. It may change the first in place.
    """
    _silence_tracing()
    with torch.inference_mode():
        try:
            graph: Callable[..., T] = torch.jit.trace(function, example, check_trace=False)  # type: ignore[no-untyped-call]
        except (AttributeError, RuntimeError):
            return function
        for _ in range(RUNS):
            graph(*example)
    return graph


def _silence_tracing() -> None:
    """Tracing is deprecated in favour of compilers, which take minutes for all of a tile's shapes. For good: other threads
    warn, too, and `catch_warnings` would undo what they set."""
    warnings.filterwarnings("ignore", message=r".*torch\.jit")
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]


def _follows(graph: Scores, scores: Scores, example: Tensor) -> bool:
    """Whether the graph gives these scores to half their digits, and the same bits before and after it is optimised."""
    expected = scores(example)
    found = [graph(example) for _ in range(RUNS)]
    tolerance = math.sqrt(torch.finfo(expected.dtype).eps) * float(expected.abs().max())
    return torch.allclose(found[0], expected, rtol=0, atol=tolerance) and all(torch.equal(found[0], each) for each in found)
