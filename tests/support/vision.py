"""How colours look to people, also to those who lack a kind of cones: OKLab of what they see."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Vision = Literal["normal", "protanopia", "deuteranopia"]
VISIONS: dict[Vision, list[list[float]]] = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
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


def oklab(colors: npt.ArrayLike, vision: Vision = "normal") -> npt.NDArray[np.float64]:
    """sRGB colours (N, 3), 0 to 255, as someone of this vision sees them: OKLab (N, 3), lightness 0 to 1."""
    values = np.asarray(colors, np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    rgb = np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1)
    return np.asarray(np.cbrt(rgb @ np.transpose(RGB_TO_CONES)) @ np.transpose(CONES_TO_OKLAB))
