"""The photo under the colours of its classes, with outlines, and the classes' names on the regions."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from common.arrays import Box, Mask, Pixels
from imaging.encoding import BAND_PIXELS, COLORS, ImageFormat, Palette, color_image, palette_bytes, picture_file
from imaging.errors import AnswerTooLarge
from imaging.palette import is_light
from imaging.polygons import faces

LEAST_ROWS = 64  # of a band, since the rows around it that outlines need are computed twice
CASING, LINE = ((0, 0, 0), 140), ((255, 255, 255), 235)
"""Colour and opacity (0 to 255) of the line along borders, and of the wider one below it."""
PIXELS_PER_RADIUS, MOST_RADIUS = 1600, 8
LONGEST_SIDE = 256  # of the reduced class map on which names are placed; it bounds the work
LINES = 30  # of text that fit into a square image: the font's size
LEAST_SIZE = 12  # of the font, in pixels
MOST_NAMES = 100
TOLERANCE = 0.5  # pixels of the reduced class map, by which a circle may be smaller than the largest
NO_CHARACTER = "\U0010ffff"  # which no font has


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
    # for each id, the one that replaces it: its own if it is shown; the others get one common id
    common_id = next((id for id in range(COLORS) if id not in class_ids), 0)
    replacements = [id if id in class_ids else common_id for id in range(COLORS)]
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
    return picture_file(overlay, image_format, profile)


def _borders(ids: Pixels) -> Mask:
    """The pixels (H, W) whose right or lower neighbour has another id."""
    borders = np.zeros(ids.shape, np.bool_)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=borders[:, :-1])
    borders[:-1] |= ids[1:] != ids[:-1]
    return borders


def _outline(band: Image.Image, borders: Mask, radius: int, above: int) -> None:
    """Draws lines along these borders. above: how many of their rows lie above the band."""
    if not borders.any():
        return
    line = _dilate(borders, radius)
    for flags, (color, opacity) in ((_dilate(line, radius + 1) & ~line, CASING), (line, LINE)):
        opacities = flags[above : above + band.height].astype(np.uint8) * np.uint8(opacity)
        band.paste(color, mask=Image.fromarray(opacities))


def _dilate(flags: Mask, radius: int) -> Mask:
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
    edge = max(1, int(name.font.size) // 12)
    draw.rounded_rectangle((left, top, right - 1, bottom - 1), radius=(bottom - top) // 4, fill=color, outline=ink, width=edge)
    draw.text(((left + right) / 2, (top + bottom) / 2), name.text, fill=ink, font=name.font, anchor="mm")


@dataclass(frozen=True)
class Name:
    """A class's name on a picture.

    id: of the class. box: (left, top, right, bottom), in pixels, inside the image. font: its size is in pixels.
    """

    id: int
    text: str
    box: Box
    font: FreeTypeFont


def place_names(class_map: Pixels, replacements: Sequence[int], names: Mapping[int, str]) -> list[Name]:
    """The names to write on the regions of a class map, uint8 (H, W). Their boxes do not overlap.

    replacements: for each of 256 ids, the id that replaces it. names: by replaced id; regions of other ids get no name.
    A region gets a name if a circle as wide as a line of text is high fits into it. The name is at the innermost point of the
    region. Regions with the largest circles come first; there are at most `MOST_NAMES`, and a name that would overlap an
    earlier one is left out. A name that Pillow's font cannot write, or that is wider than the image, is replaced by the class
    id, and left out if that is too wide as well. There are no names if `Regions` raises `AnswerTooLarge`.
    """
    height, width = class_map.shape
    size = max(LEAST_SIZE, round(math.sqrt(height * width) / LINES))
    font = ImageFont.load_default(size)
    if not names or not isinstance(font, FreeTypeFont):
        return []
    step = math.ceil(max(height, width) / LONGEST_SIDE)
    small_map = np.asarray(
        Image.fromarray(np.ascontiguousarray(class_map[step // 2 :: step, step // 2 :: step])).point(replacements)
    )
    if not small_map.size:
        return []
    texts: dict[int, str] = {}
    result: list[Name] = []
    for id, row, column in _inner_points(small_map, names, size / step / 2):
        if id not in texts:
            texts[id] = names[id] if _fits(names[id], font, width) else str(id)
        box = _box(texts[id], font, size, (column * step + step // 2, row * step + step // 2), (width, height))
        if box and all(_apart(box, other.box) for other in result):
            result.append(Name(id, texts[id], box, font))
    return result


def _inner_points(ids: Pixels, class_ids: Collection[int], radius: float) -> list[tuple[int, int, int]]:
    """Class id, row and column of the centre of the largest circle in each region, largest first; none below this radius."""
    try:
        polygons = faces(ids)
    except AnswerTooLarge:
        return []
    polygons = polygons[shapely.area(polygons) >= math.pi * radius**2]
    circles = shapely.maximum_inscribed_circle(polygons, tolerance=TOLERANCE)  # a line from the centre to the border
    radii, centres = shapely.length(circles), shapely.get_coordinates(circles)[::2].astype(int)
    of_names = [
        (int(ids[row, column]), row, column)
        for index in np.argsort(-radii, kind="stable").tolist()
        for column, row in [centres[index].tolist()]
        if radii[index] >= radius and ids[row, column] in class_ids
    ]
    return of_names[:MOST_NAMES]


def _fits(text: str, font: FreeTypeFont, width: int) -> bool:
    """Whether the font has all characters of the text, and the text is narrower than the image."""
    if not text.strip() or not text.isprintable() or len(text) > width:
        return False
    no_character = bytes(font.getmask(NO_CHARACTER))
    return all(bytes(font.getmask(character)) != no_character for character in set(text)) and font.getlength(text) < width


def _box(text: str, font: FreeTypeFont, size: int, center: tuple[int, int], image: tuple[int, int]) -> Box | None:
    """The box of a text around this point (x, y), moved into the image (width, height); None if it is larger than that."""
    lengths = (math.ceil(font.getlength(text)) + size // 2 + 2, size + size // 4 + 2)
    if lengths[0] > image[0] or lengths[1] > image[1]:
        return None
    left, top = (min(max(0, at - length // 2), most - length) for at, length, most in zip(center, lengths, image, strict=True))
    return left, top, left + lengths[0], top + lengths[1]


def _apart(one: Box, other: Box) -> bool:
    """Whether the boxes do not overlap."""
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
