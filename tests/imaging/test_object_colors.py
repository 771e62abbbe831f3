"""The object's colours at soft pixels, from mixtures of known colours."""

from __future__ import annotations

import numpy as np

from imaging.cutout import color_layers, object_colors
from imaging.guided_filter import Plane

OBJECT, BACKGROUND = np.array([200.0, 150.0, 90.0], np.float32), np.array([20.0, 30.0, 40.0], np.float32)


def ramp() -> Plane:
    """Opacity that rises from 0 to 1 in the middle."""
    return np.tile(((np.arange(80, dtype=np.float32) - 30) / 20).clip(0, 1), (60, 1))


def test_a_mixture_gives_back_the_objects_colour() -> None:
    opacity = ramp()
    photo = opacity[..., None] * OBJECT + (1 - opacity[..., None]) * BACKGROUND
    layers = color_layers([np.ascontiguousarray(photo[..., channel]) / 255 for channel in range(3)], opacity, (20, 5))
    object, background = (255 * np.dstack([layer[index] for layer in layers]) for index in range(2))
    soft = (opacity > 0.05) & (opacity < 1)
    colors = object_colors(photo[soft], opacity[soft, None], object[soft], background[soft])
    assert np.abs(colors - OBJECT).mean() < 20
    assert np.abs(photo[soft] - OBJECT).mean() > 45


def test_an_opaque_pixel_keeps_its_colour() -> None:
    photo = np.array([[10.0, 20.0, 30.0]], np.float32)
    colors = object_colors(photo, np.ones((1, 1), np.float32), photo + 50, photo - 5)
    assert colors.tolist() == [[10, 20, 30]]
