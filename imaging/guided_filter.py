"""A guided filter (He, Sun and Tang 2010, "Guided Image Filtering"): a plane becomes a linear function of a photo's colours.

The coefficients differ from pixel to pixel. They are computed on a reduced photo and applied to the whole one (He and Sun 2015,
"Fast Guided Filter").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
Colors = Sequence[Plane]


def coefficients(colors: Colors, target: Plane, radius: int, smoothness: float) -> list[Plane]:
    """Four planes (H, W): the slopes of the filtered target by red, green and blue, and its intercept.

    colors: three planes, 0 to 1. radius: of the windows, in pixels. smoothness: the variance of colours below which the
    target is rather smoothed than made to follow them (epsilon of the paper).
    """
    mean, means = window_mean(target, radius), [window_mean(color, radius) for color in colors]
    with_target = [window_mean(c * target, radius) - color_mean * mean for c, color_mean in zip(colors, means, strict=True)]
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    covariances: dict[tuple[int, int], Plane] = {
        (i, j): window_mean(colors[i] * colors[j], radius) - means[i] * means[j] + np.float32(smoothness * (i == j))
        for i, j in pairs
    }
    slopes = _solve(covariances, with_target)
    intercept = mean - slopes[0] * means[0] - slopes[1] * means[1] - slopes[2] * means[2]
    return [*(window_mean(slope, radius) for slope in slopes), window_mean(intercept, radius)]


def window_mean(plane: Plane, radius: int) -> Plane:
    """The mean over the square window around each pixel; beyond the edge, its pixels are repeated."""
    return _mean_of_rows(_mean_of_rows(plane, radius).T, radius).T


def _mean_of_rows(plane: Plane, radius: int) -> Plane:
    window = 2 * radius + 1
    sums = np.pad(plane, ((0, 0), (radius + 1, radius)), mode="edge").astype(np.float64, "C")
    np.cumsum(sums, 1, out=sums)
    means: Plane = ((sums[:, window:] - sums[:, :-window]) / window).astype(np.float32)
    return means


def _solve(matrix: dict[tuple[int, int], Plane], right: list[Plane]) -> list[Plane]:
    """Solves a symmetric system of three equations at each pixel, by its cofactors. matrix: its upper triangle."""
    (a, b, c), (d, e, f) = (matrix[0, 0], matrix[0, 1], matrix[0, 2]), (matrix[1, 1], matrix[1, 2], matrix[2, 2])
    first = [d * f - e * e, c * e - b * f, b * e - c * d]
    others = [a * f - c * c, b * c - a * e, a * d - b * b]
    determinant = a * first[0] + b * first[1] + c * first[2]
    rows = [first, [first[1], others[0], others[1]], [first[2], others[1], others[2]]]
    return [(x * right[0] + y * right[1] + z * right[2]) / determinant for x, y, z in rows]
