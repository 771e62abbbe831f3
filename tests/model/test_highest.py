"""The highest class of each pixel between its cells, however many pixels need their logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model import highest as subject
from model.highest import Axis, highest


def along(pixels: int, cells: int) -> Axis:
    """Pixels spread evenly over cells."""
    places = torch.linspace(0, cells - 1, pixels).clamp(max=cells - 1.001)
    before = places.floor().long()
    return Axis(before, before + 1, places - before)


def plain(cells: Tensor, vertical: Axis, horizontal: Axis) -> Tensor:
    """The interpolation of all pixels, in float64."""
    wide = cells.double()
    lines = torch.lerp(wide[vertical.before], wide[vertical.after], vertical.fraction.double()[:, None, None])
    across = horizontal.fraction.double()[:, None]
    return torch.lerp(lines[:, horizontal.before], lines[:, horizontal.after], across).argmax(2).to(torch.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (300, 1), (230, 410)], ids=str)
@pytest.mark.parametrize("cells", [(2, 2), (9, 14), (40, 3)], ids=str)
def test_every_pixel_has_the_class_of_its_own_logits(size: tuple[int, int], cells: tuple[int, int]) -> None:
    logits = torch.rand(*cells, 5, generator=torch.Generator().manual_seed(0))
    axes = along(size[0], cells[0]), along(size[1], cells[1])
    with torch.inference_mode():
        found = highest(logits, *axes)
    assert found.dtype == torch.uint8
    assert (found != plain(logits, *axes)).sum() <= found.numel() // 1000  # ties, which float32 may break otherwise


def test_pixels_that_need_their_logits_come_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, axes = torch.rand(20, 30, 4), (along(100, 20), along(150, 30))
    at_once = highest(logits, *axes)
    monkeypatch.setattr(subject, "PLACES", 7)
    assert torch.equal(highest(logits, *axes), at_once)


def test_of_equal_classes_the_lowest_id_is_given() -> None:
    cells = torch.full((2, 2, 21), -1.0)
    cells[:, 0, 20] = cells[:, 1, 3] = 1.0
    cells[:, 1, 20] = cells[:, 0, 3] = 0.0
    cells[:, :, 7] = 0.5
    half = Axis(torch.zeros(40).long(), torch.ones(40).long(), torch.full((40,), 0.5))
    assert (highest(cells, half, half) == 3).all()


def test_a_map_of_one_class_is_that_class_everywhere() -> None:
    logits = torch.tensor([0.0, 2.0, 1.0]).expand(6, 5, 3)
    assert (highest(logits, along(40, 6), along(30, 5)) == 1).all()


def test_its_steps_run_without_the_interpreter() -> None:
    assert all(isinstance(graph, torch.jit.ScriptFunction) for graph in subject._graphs())


def test_all_pixels_of_an_axis_are_the_axis_itself() -> None:
    axis = along(40, 6)
    assert axis.cut(slice(0, 40)) is axis
    part = axis.cut(slice(10, 30), 1)
    assert torch.equal(part.before, axis.before[10:30] - 1)
    assert torch.equal(part.fraction, axis.fraction[10:30])
