"""The photo under the colours of its classes, with outlines and the classes' names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from imaging.encoding import (
    BAND_PIXELS,
    COLORS,
    PHOTOGRAPHS,
    ImageFormat,
    Palette,
    Pixels,
    color_image,
    palette_bytes,
    picture_file,
)
from imaging.names import Name, place_names
from imaging.palette import is_light

Flags = npt.NDArray[np.bool_]
LEAST_ROWS = 64  # of a band, since the rows around it that outlines need are computed twice
CASING, LINE = ((0, 0, 0), 140), ((255, 255, 255), 235)
"""Colour and opacity (0 to 255) of the line along borders, and of the wider one below it."""
PIXELS_PER_RADIUS, MOST_RADIUS = 1600, 8


def overlay_picture(
    image: Pixels,
    class_map: Pixels,
    palette: Palette,
    alpha: float,
    class_ids: Collection[int],
    image_format: ImageFormat = "png",
    names: Mapping[int, str] | None = None,
    profile: bytes | None = None,
) -> bytes:
    """The photo (H, W, 3), overlaid with class colours where the class is in `class_ids`; elsewhere it stays as it is.

    alpha: opacity of the colours, 0 to 1. Regions have an outline at any opacity: a light line between two dark ones, which
    shows on light and on dark photographs. names: by class id, the names to write on the regions; None leaves them out.
    profile: the photo's ICC profile, which the picture gets; the colours are numbers in its colour space.
    """
    height, width = class_map.shape
    overlay, colors = Image.new("RGB", (width, height)), palette_bytes(palette)
    opacities = [round(255 * alpha) if id in class_ids else 0 for id in range(COLORS)]
    replacements = _replacements(class_ids)
    radius = min(MOST_RADIUS, round(max(height, width) / PIXELS_PER_RADIUS))
    rows, margin = max(LEAST_ROWS, BAND_PIXELS // width), 2 * radius + 2
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band, classes = Image.fromarray(image[top:bottom]), class_map[top:bottom]
        band.paste(color_image(classes, colors), mask=Image.fromarray(classes).point(opacities))
        first = max(0, top - margin)
        around = np.asarray(Image.fromarray(class_map[first : bottom + margin]).point(replacements))
        _outline(band, _borders(around), radius, top - first)
        overlay.paste(band, (0, top))
    class_names = {id: name for id, name in (names or {}).items() if id in class_ids}
    for name in place_names(class_map, replacements, class_names):
        _write(overlay, name, palette[name.id])
    return picture_file(overlay, image_format, PHOTOGRAPHS[image_format], profile)


def _replacements(class_ids: Collection[int]) -> list[int]:
    """For each of 256 ids, the id that replaces it: its own if it is shown; the others get one common id."""
    common_id = next((id for id in range(COLORS) if id not in class_ids), 0)
    return [id if id in class_ids else common_id for id in range(COLORS)]


def _borders(ids: Pixels) -> Flags:
    """The pixels (H, W) whose right or lower neighbour has another id."""
    borders = np.zeros(ids.shape, np.bool_)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=borders[:, :-1])
    borders[:-1] |= ids[1:] != ids[:-1]
    return borders


def _outline(band: Image.Image, borders: Flags, radius: int, above: int) -> None:
    """Draws lines along these borders. above: how many of their rows lie above the band."""
    if not borders.any():
        return
    line = _dilate(borders, radius)
    for flags, (color, opacity) in ((_dilate(line, radius + 1) & ~line, CASING), (line, LINE)):
        opacities = flags[above : above + band.height].astype(np.uint8) * np.uint8(opacity)
        band.paste(color, mask=Image.fromarray(opacities))


def _dilate(flags: Flags, radius: int) -> Flags:
    """Sets all pixels within this distance of a set one, in either axis."""
    for axis in (0, 1):
        window = 2 * radius + 1
        padded_flags = np.moveaxis(np.pad(flags, [(radius, radius) if axis == a else (0, 0) for a in (0, 1)]), axis, 0)
        reach = 1
        while reach < window:  # each step doubles the number of pixels that a pixel covers
            step = min(reach, window - reach)
            padded_flags = padded_flags[:-step] | padded_flags[step:]
            reach += step
        flags = np.moveaxis(padded_flags, 0, axis)
    return flags


def _write(overlay: Image.Image, name: Name, color: tuple[int, int, int]) -> None:
    """Writes a name into its box, on its class's colour, in black or white."""
    draw, ink = ImageDraw.Draw(overlay), (0, 0, 0) if is_light(color) else (255, 255, 255)
    left, top, right, bottom = name.box
    edge = max(1, name.font_size // 12)
    draw.rounded_rectangle((left, top, right - 1, bottom - 1), radius=(bottom - top) // 4, fill=color, outline=ink, width=edge)
    draw.text(((left + right) / 2, (top + bottom) / 2), name.text, fill=ink, font=name.font, anchor="mm")
