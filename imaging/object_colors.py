"""The colours of an object at the pixels that it shares with the background.

A soft pixel of a photo shows a mixture: opacity x object + (1 - opacity) x background. Both colours are estimated as means of
the pixels around, weighted with their opacity, and then moved so that their mixture is the photo's colour (Forte 2021,
"Approximate Fast Foreground Colour Estimation", ICIP: "blur fusion").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imaging.guided_filter import Plane, window_mean

Pixels = npt.NDArray[np.uint8]
Layers = list[tuple[Plane, Plane]]
LEAST = 1e-4  # weight of a window's own colour, which counts where an object is far


def color_layers(colors: Sequence[Plane], opacity: Plane, radii: Sequence[int]) -> Layers:
    """For each colour, the planes (H, W) of the object's and the background's means, 0 to 1.

    colors: planes of the photo, 0 to 1. opacity: 0 to 1. radii: of the windows, in pixels; each round begins with the colours
    of the one before.
    """
    layers: Layers = [(color, color) for color in colors]
    for radius in radii:
        share = window_mean(opacity, radius)
        if radius != radii[0]:
            layers = [
                (object + opacity * (color - opacity * object - (1 - opacity) * background), background)
                for color, (object, background) in zip(colors, layers, strict=True)
            ]
        layers = [_means(object, background, opacity, share, radius) for object, background in layers]
    return layers


def _means(object: Plane, background: Plane, opacity: Plane, share: Plane, radius: int) -> tuple[Plane, Plane]:
    """The means over windows, object by opacity and background by the rest."""
    least = np.float32(LEAST)
    first = (window_mean(object * opacity, radius) + least * object) / (share + least)
    second = (window_mean(background * (1 - opacity), radius) + least * background) / (1 - share + least)
    return first, second


def object_colors(photo: Plane, opacity: Plane, object: Plane, background: Plane) -> Pixels:
    """The object's colours, uint8 (pixels, 3). photo, object, background: 0 to 255 (pixels, 3). opacity: 0 to 1 (pixels, 1)."""
    mixture = opacity * object + (1 - opacity) * background
    colors: Pixels = np.rint(object + opacity * (photo - mixture)).clip(0, 255).astype(np.uint8)
    return colors
