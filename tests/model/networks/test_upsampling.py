"""Bilinear kernels and upsamplings against interpolation as PyTorch and numpy do it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from model.architecture import Grid
from model.networks.upsampling import BilinearConvTranspose2d, FixedUpsample, bilinear_kernel
from tests.support.model.networks import interpolated

GRIDS: tuple[Grid, Grid] = ("corner", "half_pixel")
STRIDES = (2, 8, 16, 32)


@pytest.mark.parametrize(("grid", "line"), [("corner", [0.5, 1.0, 0.5]), ("half_pixel", [0.25, 0.75, 0.75, 0.25])], ids=GRIDS)
def test_the_kernel_of_stride_2_is_the_textbook_one(grid: Grid, line: list[float]) -> None:
    torch.testing.assert_close(bilinear_kernel(2, grid), torch.outer(torch.tensor(line), torch.tensor(line)))


@pytest.mark.parametrize("stride", STRIDES)
def test_transposing_with_the_corner_kernel_is_interpolating_with_aligned_corners(stride: int) -> None:
    scores = torch.randn(1, 1, 4, 5)
    size = (stride * 3 + 1, stride * 4 + 1)
    result = F.conv_transpose2d(scores, bilinear_kernel(stride, "corner")[None, None], stride=stride, padding=stride - 1)
    expected = F.interpolate(scores, size=size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stride", STRIDES)
def test_transposing_with_the_half_pixel_kernel_is_interpolating_without_aligned_corners_inside(stride: int) -> None:
    scores = torch.randn(1, 1, 4, 5)
    kernel = bilinear_kernel(stride, "half_pixel")[None, None]
    result = F.conv_transpose2d(scores, kernel, stride=stride, padding=stride // 2)
    expected = F.interpolate(scores, scale_factor=float(stride), mode="bilinear", align_corners=False)
    inside = (..., slice(stride // 2, -(stride // 2)), slice(stride // 2, -(stride // 2)))
    torch.testing.assert_close(result[inside], expected[inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("cut", [0, 1], ids=["whole", "cut"])
def test_both_upsamplings_interpolate_between_cell_centres_up_to_the_edges(grid: Grid, stride: int, cut: int) -> None:
    scores = torch.randn(2, 3, 2, 4)
    size = (2 * stride - cut, 4 * stride - cut)
    expected = interpolated(scores, stride, size, grid)
    learnable = BilinearConvTranspose2d(3, stride, grid)
    torch.testing.assert_close(learnable.upsample(scores, size), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(FixedUpsample(stride, grid).upsample(scores, size), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("grid", GRIDS)
def test_one_cell_fills_its_whole_stride_without_fading(grid: Grid) -> None:
    scores = torch.full((1, 1, 1, 1), 7.0)
    everywhere = torch.full((1, 1, 2, 2), 7.0)
    torch.testing.assert_close(BilinearConvTranspose2d(1, 2, grid).upsample(scores, (2, 2)), everywhere)
    torch.testing.assert_close(FixedUpsample(2, grid).upsample(scores, (2, 2)), everywhere)


def test_only_the_transposed_convolution_learns() -> None:
    assert [name for name, _ in BilinearConvTranspose2d(2, 2, "corner").named_parameters()] == ["weight"]
    assert list(FixedUpsample(2, "corner").parameters()) == []


def test_the_final_upsampling_gives_float32_for_bfloat16_scores() -> None:
    scores = torch.randn(1, 2, 3, 3)
    halves = scores.bfloat16()
    result = FixedUpsample(8, "corner").upsample(halves, (24, 24))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, interpolated(halves.float(), 8, (24, 24), "corner"), atol=1e-5, rtol=0)
