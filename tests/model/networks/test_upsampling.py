"""Bilinear kernels and upsamplings against interpolation as PyTorch and numpy do it."""

from __future__ import annotations

import pytest
import torch

from model.architecture import Grid
from model.networks.upsampling import BilinearConvTranspose2d, FixedUpsample, bilinear_kernel
from tests.support.model.interpolation import interpolate

GRIDS: tuple[Grid, Grid] = ("corner", "half_pixel")
STRIDES = (2, 8, 16, 32)


@pytest.mark.parametrize(("grid", "line"), [("corner", [0.5, 1.0, 0.5]), ("half_pixel", [0.25, 0.75, 0.75, 0.25])], ids=GRIDS)
def test_the_kernel_of_stride_2_is_the_textbook_one(grid: Grid, line: list[float]) -> None:
    torch.testing.assert_close(bilinear_kernel(2, grid), torch.outer(torch.tensor(line), torch.tensor(line)))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("cut", [0, 1], ids=["whole", "cut"])
def test_both_upsamplings_interpolate_between_cell_centres_up_to_the_edges(grid: Grid, stride: int, cut: int) -> None:
    scores = torch.randn(2, 3, 2, 4)
    size = (2 * stride - cut, 4 * stride - cut)
    expected = torch.from_numpy(interpolate(scores.numpy(), stride, grid, size, size))
    learnable = BilinearConvTranspose2d(3, stride, grid)
    torch.testing.assert_close(learnable.upsample(scores, size), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(FixedUpsample(stride, grid).upsample(scores, size), expected, atol=1e-5, rtol=0)


def test_only_the_transposed_convolution_learns() -> None:
    assert [name for name, _ in BilinearConvTranspose2d(2, 2, "corner").named_parameters()] == ["weight"]
    assert list(FixedUpsample(2, "corner").parameters()) == []


def test_the_final_upsampling_gives_float32_for_bfloat16_scores() -> None:
    scores = torch.randn(1, 2, 3, 3)
    halves = scores.bfloat16()
    result = FixedUpsample(8, "corner").upsample(halves, (24, 24))
    assert result.dtype == torch.float32
    expected = interpolate(halves.float().numpy(), 8, "corner", (24, 24), (24, 24))
    torch.testing.assert_close(result, torch.from_numpy(expected), atol=1e-5, rtol=0)
