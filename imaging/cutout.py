"""Cuts classes out of a photo: an RGBA picture that is transparent elsewhere.

A cell of the network covers many pixels of a photo, so the borders of a class map are coarse. A guided filter moves them to the
edges of the photo, in two rounds: the second one begins with the result of the first, and has smaller windows. It makes the
opacity a linear function of the photo's colours, whose coefficients differ from pixel to pixel; they are computed on a reduced
photo and applied to the whole one (He and Sun 2015, "Fast Guided Filter").

Blocks of a JPEG are taken out of the photo before, and soft pixels get the colours of the object alone. A soft pixel of a photo
shows a mixture: opacity x object + (1 - opacity) x background. Both colours are estimated as means of the pixels around,
weighted with their opacity, and then moved so that their mixture is the photo's colour (Forte 2021, "Approximate Fast
Foreground Colour Estimation", ICIP: "blur fusion").

"The edge of a cut-out" in docs/accuracy.md has what it gains; the constants were chosen by the same measurements.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np
from PIL import Image, ImageColor

from common.arrays import Floats32, Mask, Pixels
from imaging.classes import VOID
from imaging.deblocking import Blocks
from imaging.encoding import ImageFormat, picture_file
from imaging.islands import flatten_islands
from imaging.palette import hex_color

Layer = tuple[Floats32, Floats32]
PartBox = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of a reduced plane, as `Image.resize` takes it."""
Tile = tuple[slice, slice]
ObjectBox = tuple[int, int, int, int]
"""(left, top, width, height) in pixels."""
COLOR_PATTERN = "#(?:[0-9a-fA-F]{3}){1,2}|[a-zA-Z]+"
COLOR_WORDS = "#rrggbb or #rgb (in a web address %23rrggbb) or the name of a colour of CSS, such as white"
BORDER_CELLS = (2.0, 0.5)  # where the filter's weight reaches 0, and the radius of the windows over which it falls, in cells
LEAST_SHARE = 1e-5  # of a window; less is a rounding error
# of the filter: the radius of its windows, in cells, and the contrast of the opacity around 0.5 after it
ROUNDS = ((2.0, 3.0), (0.75, 1.7))
SMOOTHNESS = 5e-4  # of the filter, for colours from 0 to 1: noise of six grey levels is no edge
COLOR_CELLS = (2.0, 0.5)  # radii of the windows from which the object's colours are taken, in cells
REDUCED_CELL = 4  # pixels of a cell in the reduced photo
REDUCED_SIDE = 1024  # the largest longer side of the reduced photo
TILE = 256  # pixels along a side of what is computed at once, so that it stays in a core's cache
REDUCED_BYTES = 150  # for each pixel of the reduced photo
LEAST = 1e-4  # weight of a window's own colour, which counts where an object is far


def cut_out(photo: Pixels, class_map: Pixels, class_ids: Collection[int], foreground: Pixels, cell: float) -> Image.Image:
    """An RGBA picture of a photo's object, of the photo's size (H, W). photo: uint8 (H, W, 3).

    Opaque pixels have the photo's colours, soft ones the object's; fully transparent ones are black.

    class_map: uint8 (H, W). foreground: uint8 (H, W), 255 x the probability that a pixel's class is in `class_ids`. cell:
    pixels of the photo that a cell of the network covers along an axis. Within two cells of the border the opacity is the
    filtered `foreground`, without the islands that `imaging/islands.py` flattens; elsewhere it is 255 or 0. Void is
    transparent.
    """
    height, width = class_map.shape
    inside = np.isin(np.arange(256), list(class_ids))[class_map]
    scale = Scale.of((height, width), cell)
    colors = list(np.ascontiguousarray(scale.reduced(photo).transpose(2, 0, 1)))
    opacity = refined(photo, Blocks.of(photo), colors, inside, foreground, scale)
    opacity *= class_map != VOID
    if bounds := Image.fromarray(inside | (opacity > 0)).getbbox():
        extent = slice(bounds[1], bounds[3]), slice(bounds[0], bounds[2])
        flatten_islands(opacity[extent], inside[extent].view(np.uint8), cell**2)
    del inside
    layers = color_layers(colors, scale.reduced(opacity), [scale.radius(cells) for cells in COLOR_CELLS])
    means = [[Image.fromarray(np.float32(255) * plane) for plane in of_color] for of_color in layers]
    pixels = np.zeros((height, width, 4), np.uint8)
    for tile, box in scale.tiles((height, width)):
        visible = opacity[tile]
        if not visible.any():
            continue
        pixels[tile][..., :3] = photo[tile]
        pixels[tile][..., 3] = visible
        pixels.view(np.uint32)[..., 0][tile] *= visible > 0
        soft = (visible > 0) & (visible < 255)
        if soft.any():
            share = visible[soft].astype(np.float32) / np.float32(255)
            for channel, of_color in enumerate(means):
                object, background = (_enlarged(plane, soft.shape, box)[soft] for plane in of_color)
                mixture = share * object + (1 - share) * background
                color = np.rint(object + share * (photo[tile][..., channel][soft] - mixture)).clip(0, 255)
                pixels[tile][..., channel][soft] = color
    return Image.fromarray(pixels)


def cutout_file(
    picture: Image.Image, image_format: ImageFormat, *, crop: bool, background: str | None, profile: bytes | None
) -> tuple[bytes, ObjectBox | None]:
    """The file of a cut-out, and the object's box (left, top, width, height) in the photo; None if there is no object.

    The box holds every pixel that is not fully transparent. crop: whether the file shows the box alone, if there is one.
    background: a colour below the object, as `#rrggbb`; without it the picture is transparent, which a JPEG cannot be. profile:
    the photo's ICC profile, which the file gets. A WebP has lossy colours and a lossless opacity.
    """
    bounds = picture.getchannel("A").getbbox()
    if crop and bounds:
        picture = picture.crop(bounds)
    if background is not None:
        ground = Image.new("RGB", picture.size, background)
        ground.paste(picture, mask=picture.getchannel("A"))
        picture = ground
    body = picture_file(picture, image_format, profile)
    return body, (bounds[0], bounds[1], bounds[2] - bounds[0], bounds[3] - bounds[1]) if bounds else None


def parse_color(text: str) -> str:
    """A colour as `#rrggbb`, in lower case, from one, `#rgb` or a name of CSS; raises `ValueError` for another text."""
    if not re.fullmatch(COLOR_PATTERN, text) or (text[0] != "#" and text.lower() not in ImageColor.colormap):
        raise ValueError(f"{text!r:.40} is no colour; give {COLOR_WORDS}")
    red, green, blue = ImageColor.getrgb(text)[:3]
    return hex_color((red, green, blue))


def cutout_bytes(pixels: int) -> int:
    """Upper bound, in bytes, of the memory for the filter on a photo of this many pixels."""
    return REDUCED_BYTES * min(pixels, REDUCED_SIDE**2)


@dataclass(frozen=True)
class Scale:
    """cell: pixels of the photo that a cell of the network covers along an axis. factor: those of a reduced photo's pixel."""

    cell: float
    factor: int

    @classmethod
    def of(cls, size: tuple[int, int], cell: float) -> Scale:
        """The scale for a photo of this (height, width)."""
        return cls(cell, max(1, int(cell / REDUCED_CELL), ceil(max(size) / REDUCED_SIDE)))

    def radius(self, cells: float) -> int:
        """Pixels of the reduced photo."""
        return max(1, round(cells * self.cell / self.factor))

    def reduced(self, plane: Pixels) -> Floats32:
        """A plane (H, W) or a photo (H, W, 3) in the reduced size, 0 to 1."""
        return np.asarray(Image.fromarray(plane).reduce(self.factor), np.float32) / np.float32(255)

    def tiles(self, size: tuple[int, int]) -> Iterator[tuple[Tile, PartBox]]:
        """Parts of a photo of this (height, width), and where they lie in the reduced one: left, top, right, bottom."""
        height, width = size
        for top, left in product(range(0, height, TILE), range(0, width, TILE)):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            box = (left / self.factor, top / self.factor, right / self.factor, bottom / self.factor)
            yield (slice(top, bottom), slice(left, right)), box


def refined(photo: Pixels, blocks: Blocks, colors: list[Floats32], inside: Mask, foreground: Pixels, scale: Scale) -> Pixels:
    """The opacity after the filter, uint8 (H, W).

    photo: uint8 (H, W, 3); the opacity follows it, but not its blocks. colors: of the reduced photo. inside: bool (H, W),
    the pixels of the classes. foreground: as for `cut_out`.
    """
    opacity = inside.view(np.uint8) * np.uint8(255)
    weight = border_weight(scale.reduced(opacity), *(scale.radius(cells) for cells in BORDER_CELLS))
    if not weight.any():
        return opacity
    target = scale.reduced(foreground)
    for cells, contrast in ROUNDS:
        planes = _coefficients(colors, target, scale.radius(cells), SMOOTHNESS)
        *slopes, intercept = (np.float32(contrast) * plane for plane in planes)
        intercept += np.float32((1 - contrast) / 2)
        target = _mixed(colors, slopes, intercept).clip(0, 1)
    *pictures, border = (Image.fromarray(plane) for plane in (*slopes, intercept, weight))
    for tile, box in scale.tiles(inside.shape):
        part = opacity[tile]
        near = _enlarged(border, part.shape, box)
        if near.any():
            *by_color, constant = (_enlarged(plane, part.shape, box) for plane in pictures)
            smooth = blocks.smoothed(photo, *tile)
            mixture = _mixed([smooth[..., channel] for channel in range(3)], by_color, 255 * constant).clip(0, 255)
            part[...] = np.rint(part + near * (mixture - part))
    return opacity


def border_weight(share: Floats32, reach: int, radius: int) -> Floats32:
    """The filter's weight, float32 (H, W): 0 from `reach` pixels of a border on, 1 within `reach - 2 * radius` of one.

    A small region counts as a large one. share: float32 (H, W), 1 inside of the regions and 0 outside. radius: of the windows
    over which the weight falls.
    """
    around = _window_mean(share, max(1, reach - radius))
    near = (around > LEAST_SHARE) & (around < 1 - LEAST_SHARE)
    return _window_mean(near.astype(np.float32), radius)


def _mixed(colors: Sequence[Pixels | Floats32], slopes: Sequence[Floats32], intercept: Floats32) -> Floats32:
    """A linear function of three colours at each pixel."""
    result = intercept.copy()
    for slope, color in zip(slopes, colors, strict=True):
        result += slope * color
    return result


def _enlarged(plane: Image.Image, size: tuple[int, ...], box: PartBox) -> Floats32:
    """A part of a plane of the reduced photo, at this (height, width)."""
    return np.asarray(plane.resize((size[1], size[0]), Image.Resampling.BILINEAR, box))


def color_layers(colors: Sequence[Floats32], opacity: Floats32, radii: Sequence[int]) -> list[Layer]:
    """For each colour, the planes (H, W) of the object's and the background's means, 0 to 1.

    colors: planes of the photo, 0 to 1. opacity: 0 to 1. radii: of the windows, in pixels; each round begins with the colours
    of the one before.
    """
    layers: list[Layer] = [(color, color) for color in colors]
    for radius in radii:
        share = _window_mean(opacity, radius)
        if radius != radii[0]:
            layers = [
                (object + opacity * (color - opacity * object - (1 - opacity) * background), background)
                for color, (object, background) in zip(colors, layers, strict=True)
            ]
        layers = [_means(object, background, opacity, share, radius) for object, background in layers]
    return layers


def _means(object: Floats32, background: Floats32, opacity: Floats32, share: Floats32, radius: int) -> Layer:
    """The means over windows, object by opacity and background by the rest."""
    least = np.float32(LEAST)
    first = (_window_mean(object * opacity, radius) + least * object) / (share + least)
    second = (_window_mean(background * (1 - opacity), radius) + least * background) / (1 - share + least)
    return first, second


def _coefficients(colors: Sequence[Floats32], target: Floats32, radius: int, smoothness: float) -> list[Floats32]:
    """Of the guided filter, four planes (H, W): the slopes of the filtered target by red, green and blue, and its intercept.

    colors: three planes, 0 to 1. radius: of the windows, in pixels. smoothness: the variance of colours below which the
    target is rather smoothed than made to follow them (epsilon of the paper: He, Sun and Tang 2010, "Guided Image Filtering").
    """
    mean, means = _window_mean(target, radius), [_window_mean(color, radius) for color in colors]
    with_target = [_window_mean(c * target, radius) - color_mean * mean for c, color_mean in zip(colors, means, strict=True)]
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    covariances: dict[tuple[int, int], Floats32] = {
        (i, j): _window_mean(colors[i] * colors[j], radius) - means[i] * means[j] + np.float32(smoothness * (i == j))
        for i, j in pairs
    }
    slopes = _solve(covariances, with_target)
    intercept = mean - slopes[0] * means[0] - slopes[1] * means[1] - slopes[2] * means[2]
    return [*(_window_mean(slope, radius) for slope in slopes), _window_mean(intercept, radius)]


def _window_mean(plane: Floats32, radius: int) -> Floats32:
    """The mean over the square window around each pixel; beyond the edge, its pixels are repeated."""
    return _mean_of_rows(_mean_of_rows(plane, radius).T, radius).T


def _mean_of_rows(plane: Floats32, radius: int) -> Floats32:
    window = 2 * radius + 1
    sums = np.pad(plane, ((0, 0), (radius + 1, radius)), mode="edge").astype(np.float64, "C")
    np.cumsum(sums, 1, out=sums)
    means: Floats32 = ((sums[:, window:] - sums[:, :-window]) / window).astype(np.float32)
    return means


def _solve(matrix: dict[tuple[int, int], Floats32], right: list[Floats32]) -> list[Floats32]:
    """Solves a symmetric system of three equations at each pixel, by its cofactors. matrix: its upper triangle."""
    (a, b, c), (d, e, f) = (matrix[0, 0], matrix[0, 1], matrix[0, 2]), (matrix[1, 1], matrix[1, 2], matrix[2, 2])
    first = [d * f - e * e, c * e - b * f, b * e - c * d]
    others = [a * f - c * c, b * c - a * e, a * d - b * b]
    determinant = a * first[0] + b * first[1] + c * first[2]
    rows = [first, [first[1], others[0], others[1]], [first[2], others[1], others[2]]]
    return [(x * right[0] + y * right[1] + z * right[2]) / determinant for x, y, z in rows]
