"""Cuts classes out of a photo: an RGBA picture that is transparent elsewhere.

A cell of the network covers many pixels of a photo, so the borders of a class map are coarse. A guided filter (He, Sun and Tang
2010, "Guided Image Filtering") moves them to the edges of the photo: around each pixel, the opacity is a linear function of the
three colours. The coefficients are computed on a reduced photo and applied to the whole one (He and Sun 2015, "Fast Guided
Filter").
`benchmarks/studies/cutout.py` measures the gain; the constants are from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.encoding import BAND_PIXELS, PHOTOGRAPHS, picture_file
from imaging.islands import flatten_islands

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Plane = npt.NDArray[np.float32]
WINDOW_CELLS = 2  # radius of the filter's windows, in cells
SMOOTHNESS = 1e-4  # of the filter: epsilon, for colours from 0 to 1
CONTRAST = 3.0  # of the opacity around 0.5, after the filter
REDUCED_CELL = 4  # pixels of a cell in the reduced photo
REDUCED_SIDE = 1024  # the largest longer side of the reduced photo
REDUCED_BYTES = 150  # for each pixel of the reduced photo


def cutout_png(
    photo: Pixels,
    class_map: Pixels,
    class_ids: Collection[int],
    foreground: Pixels,
    cell: float,
    check: Callable[[], None] = lambda: None,
    profile: bytes | None = None,
) -> bytes:
    """RGBA PNG (H, W) of a photo, uint8 (H, W, 3). Fully transparent pixels are black; the others have the photo's colours.

    class_map: uint8 (H, W). foreground: uint8 (H, W), 255 x the probability that a pixel's class is in `class_ids`. cell:
    pixels of the photo that a cell of the network covers along an axis. Within two cells of the border the opacity is the
    filtered `foreground`, without the islands that `imaging/islands.py` flattens; elsewhere it is 255 or 0. `check` is called
    for every few rows, and may raise. profile: the photo's ICC profile, which the picture gets.
    """
    height, width = class_map.shape
    inside = np.isin(np.arange(256), list(class_ids))[class_map]
    factor = max(1, int(cell / REDUCED_CELL), ceil(max(height, width) / REDUCED_SIDE))
    opacity = _filter(photo, inside, foreground, cell, factor, check)
    flatten_islands(opacity, inside.view(np.uint8), cell**2, check)
    picture, rows = Image.new("RGBA", (width, height)), max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        check()
        band = slice(top, top + rows)
        colors = np.where(opacity[band, :, None] > 0, photo[band], np.uint8(0))
        picture.paste(Image.fromarray(np.dstack([colors, opacity[band]])), (0, top))
    del inside, opacity
    return picture_file(picture, "png", PHOTOGRAPHS["png"], profile)


def cutout_bytes(pixels: int) -> int:
    """Upper bound, in bytes, of the memory for the filter on a photo of this many pixels."""
    return REDUCED_BYTES * min(pixels, REDUCED_SIDE**2)


def _filter(photo: Pixels, inside: Mask, foreground: Pixels, cell: float, factor: int, check: Callable[[], None]) -> Pixels:
    """The opacity after the filter, uint8 (H, W). inside: bool (H, W), the pixels of the classes."""
    height, width = inside.shape
    planes = [Image.fromarray(plane) for plane in _coefficients(photo, inside, foreground, cell, factor)]
    result, rows = np.empty((height, width), np.uint8), max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        check()
        band = slice(top, min(top + rows, height))
        box = (0.0, top / factor, width / factor, band.stop / factor)
        size = width, band.stop - top
        *slopes, intercept, weight = (np.asarray(plane.resize(size, Image.Resampling.BILINEAR, box)) for plane in planes)
        hard = np.where(inside[band], np.float32(255), np.float32(0))
        opacity = 255 * intercept
        for channel, slope in enumerate(slopes):
            opacity += slope * photo[band, :, channel]
        opacity = ((opacity - 127.5) * CONTRAST + 127.5).clip(0, 255)
        result[band] = np.rint(hard + weight * (opacity - hard))
    return result


def _coefficients(photo: Pixels, inside: Mask, foreground: Pixels, cell: float, factor: int) -> list[Plane]:
    """Five planes of the reduced photo: the slopes of the opacity (0 to 1) by red, green and blue, its intercept, its weight.

    The weight is 1 within a cell of the border, and falls to 0 at two cells.
    """
    radius = max(1, round(WINDOW_CELLS * cell / factor))
    small_photo = Image.fromarray(photo).reduce(factor)
    colors: list[Plane] = [np.asarray(channel, np.float32) / np.float32(255) for channel in small_photo.split()]
    share = _mean(_reduce(inside.astype(np.uint8) * np.uint8(255), factor), radius)
    weight: Plane = np.minimum(4 * np.minimum(share, 1 - share), np.float32(1))
    if not weight.any():
        return [weight] * 5
    target = _reduce(foreground, factor)
    mean, means = _mean(target, radius), [_mean(color, radius) for color in colors]
    with_target = [_mean(c * target, radius) - color_mean * mean for c, color_mean in zip(colors, means, strict=True)]
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    covariances: dict[tuple[int, int], Plane] = {
        (i, j): _mean(colors[i] * colors[j], radius) - means[i] * means[j] + np.float32(SMOOTHNESS * (i == j)) for i, j in pairs
    }
    del colors, target
    slopes = _solve(covariances, with_target)
    intercept = mean - slopes[0] * means[0] - slopes[1] * means[1] - slopes[2] * means[2]
    return [*(_mean(slope, radius) for slope in slopes), _mean(intercept, radius), weight]


def _solve(matrix: dict[tuple[int, int], Plane], right: list[Plane]) -> list[Plane]:
    """Solves a symmetric system of three equations at each pixel, by its cofactors. matrix: its upper triangle."""
    (a, b, c), (d, e, f) = (matrix[0, 0], matrix[0, 1], matrix[0, 2]), (matrix[1, 1], matrix[1, 2], matrix[2, 2])
    first = [d * f - e * e, c * e - b * f, b * e - c * d]
    others = [a * f - c * c, b * c - a * e, a * d - b * b]
    determinant = a * first[0] + b * first[1] + c * first[2]
    rows = [first, [first[1], others[0], others[1]], [first[2], others[1], others[2]]]
    return [(x * right[0] + y * right[1] + z * right[2]) / determinant for x, y, z in rows]


def _reduce(plane: Pixels, factor: int) -> Plane:
    return np.asarray(Image.fromarray(plane).reduce(factor), np.float32) / np.float32(255)


def _mean(plane: Plane, radius: int) -> Plane:
    """The mean over the square window around each pixel; beyond the edge, its pixels are repeated."""
    return _mean_of_rows(_mean_of_rows(plane, radius).T, radius).T


def _mean_of_rows(plane: Plane, radius: int) -> Plane:
    window = 2 * radius + 1
    sums = np.pad(plane, ((0, 0), (radius + 1, radius)), mode="edge").astype(np.float64, "C")
    np.cumsum(sums, 1, out=sums)
    means: Plane = ((sums[:, window:] - sums[:, :-window]) / window).astype(np.float32)
    return means
