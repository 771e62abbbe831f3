"""Networks, and steps after them, as recorded graphs, which run without Python: threads that run them do not wait for each
other's interpreter."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]
T = TypeVar("T")
RUNS = 3  # the first two are watched, and the graph is then optimised


def traced(module: nn.Module, *examples: Tensor) -> Function:
    """A module's call traced and frozen, for tensors of any size; the module itself where a graph cannot follow it.

    A graph may round otherwise, since its operations need not choose the same kernels, yet always in the same way. The
    module must be in evaluation mode, on a CPU, and map a tensor to one.
    """
    _silence_tracing()
    with torch.inference_mode():
        try:
            graph: Function = torch.jit.freeze(torch.jit.trace(module, examples[:1], check_trace=False))  # type: ignore[no-untyped-call]
            follows = all(_follows(graph, module, example) for example in examples)
        except (AttributeError, RuntimeError):
            return module
    return graph if follows else module


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


def _follows(graph: Function, module: Function, example: Tensor) -> bool:
    """Whether the graph gives the module's result to half its digits, and the same bits before and after it is optimised."""
    expected = module(example)
    found = [graph(example) for _ in range(RUNS)]
    tolerance = math.sqrt(torch.finfo(expected.dtype).eps) * float(expected.abs().max())
    return torch.allclose(found[0], expected, rtol=0, atol=tolerance) and all(torch.equal(found[0], each) for each in found)
