"""Display colours: easy to tell apart over photographs, for any label set, by colour-blind people too.

The rule: of all sRGB colours whose channels are multiples of 17, those of medium lightness and clear chroma in OKLCH are
candidates. Each class takes, in the order of the ids, the candidate that is farthest from the colours before it. The distance
of two colours is the least of their distance in OKLab and, twice as heavy, those that remain with protanopia and deuteranopia.
The background and void are grey.

Sources: OKLab by Björn Ottosson (2020), https://bottosson.github.io/posts/oklab/; the simulation of missing cones by Machado,
Oliveira and Fernandes (2009), "A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from imaging.classes import VOID, Label, is_background

Color = tuple[int, int, int]
Vision = Literal["normal", "protanopia", "deuteranopia"]
Floats = npt.NDArray[np.float64]
BACKGROUND_COLOR: Color = (72, 72, 72)
VOID_COLOR: Color = (232, 232, 232)
CHANNELS = range(0, 256, 17)
LIGHTNESS, LEAST_CHROMA = (0.48, 0.93), 0.13  # in OKLCH
SIMULATED_WEIGHT = 2.0  # simulated colours have two dimensions instead of three, so they lie closer
DECIMALS = 6  # of compared distances, so that rounding of the last bits, which processors differ in, decides nothing
VISIONS: dict[Vision, list[list[float]]] = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
"""For each vision, the matrix that turns the linear RGB of a colour into that of the colour as it is seen."""
RGB_TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
CONES_TO_OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def display_palette(labels: Sequence[Label]) -> list[Color]:
    """256 RGB colours: a distinct one for each class, grey for the background and void (255), and black for all other ids.

    The colour of a class depends on its place among the classes alone, so it stays when classes are added after it.
    """
    colors: list[Color] = [(0, 0, 0)] * 256
    colors[VOID] = VOID_COLOR
    distinct = iter(_distinct_colors(len(labels)))
    for label in labels:
        colors[label.id] = BACKGROUND_COLOR if is_background(label.name) else next(distinct)
    return colors


def hex_color(color: Color) -> str:
    """An RGB colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def oklab(colors: npt.ArrayLike, vision: Vision = "normal") -> Floats:
    """sRGB colours (N, 3), 0 to 255, as someone of this vision sees them: OKLab (N, 3), lightness 0 to 1."""
    rgb = np.clip(_linear(colors) @ np.transpose(VISIONS[vision]), 0, 1)
    result: Floats = np.cbrt(rgb @ np.transpose(RGB_TO_CONES)) @ np.transpose(CONES_TO_OKLAB)
    return result


def is_light(color: Color) -> bool:
    """Whether black text is easier to read on this colour than white text: by the contrast ratio of WCAG 2."""
    luminance = _linear(color) @ [0.2126, 0.7152, 0.0722]
    # equal contrast to black and to white: (L + 0.05) / 0.05 = 1.05 / (L + 0.05)
    return bool((luminance + 0.05) ** 2 > 0.05 * 1.05)


def _linear(colors: npt.ArrayLike) -> Floats:
    """The linear RGB, 0 to 1, of sRGB colours, 0 to 255, in the same shape (IEC 61966-2-1)."""
    values = np.asarray(colors, np.float64) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@cache
def _distinct_colors(count: int) -> list[Color]:
    """So many colours by the rule above. A larger count gives the same colours and more."""
    candidates = np.stack(np.meshgrid(CHANNELS, CHANNELS, CHANNELS, indexing="ij"), -1).reshape(-1, 3)
    lightness, a, b = oklab(candidates).T
    chroma = np.hypot(a, b)
    candidates = candidates[(lightness >= LIGHTNESS[0]) & (lightness <= LIGHTNESS[1]) & (chroma >= LEAST_CHROMA)]
    points_of = {vision: oklab(candidates, vision) for vision in VISIONS}
    distances = np.full(len(candidates), np.inf)
    colors: list[Color] = [BACKGROUND_COLOR]
    for _ in range(count):
        for vision, points in points_of.items():
            to_last = np.linalg.norm(points - oklab([colors[-1]], vision), axis=1)
            np.minimum(distances, to_last if vision == "normal" else SIMULATED_WEIGHT * to_last, out=distances)
        red, green, blue = candidates[np.argmax(np.round(distances, DECIMALS))].tolist()
        colors.append((red, green, blue))
    return colors[1:]
