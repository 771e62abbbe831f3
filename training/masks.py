"""Masks on disk: class ids as grey or palette images, or one colour a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.labels import Color, LabelSet

Ids = npt.NDArray[np.uint8]
Colors = Mapping[Color, int]


class MaskError(ValueError):
    """A mask that cannot be read, or that holds what its label set does not."""


def label_colors(labels: LabelSet) -> dict[Color, int]:
    """The id of each class's colour, and of void's; a colour that two classes share stands for neither."""
    palette = [*labels.classes]
    colors = [entry.color for entry in palette]
    unique = {entry.color: entry.id for entry in palette if colors.count(entry.color) == 1}
    return {labels.palette[255]: labels.ignore_index} | unique


def read_mask(path: Path, labels: LabelSet, colors: Colors) -> Ids:
    """Ids (H, W) of a mask: those of a grey or palette image, or looked up in `colors` for an RGB one.

    A palette image is looked up as well where its palette holds the classes' colours at other places than their ids.

    Raises `MaskError` naming the file for another mode, an id that is no class, or a colour that is not in the table.
    """
    try:
        with Image.open(path) as image:
            mode, pixels, palette = image.mode, np.asarray(image), image.getpalette()
    except OSError as error:
        raise MaskError(f"{path}: not an image: {error}") from error
    if mode == "RGB":
        return _ids(path, pixels, colors)
    if mode not in ("L", "P"):
        raise MaskError(f"{path}: a mask must be an 8-bit grey, palette or RGB image, got mode {mode}")
    if mode == "P" and palette and _reordered(np.unique(pixels), palette, colors):
        return _ids(path, np.array(palette, np.uint8).reshape(-1, 3)[pixels], colors)
    allowed = {*range(len(labels)), labels.ignore_index, 255}
    if unknown := sorted(set(np.unique(pixels).tolist()) - allowed):
        raise MaskError(f"{path}: ids {unknown[:5]} are neither one of {len(labels)} classes nor void")
    return pixels


def _reordered(used: Ids, palette: list[int], colors: Colors) -> bool:
    """Whether a palette's entries are the classes' colours at other places than their ids, as an optimiser leaves them."""
    if 3 * int(used.max()) + 3 > len(palette):
        return False
    shown = [(palette[3 * index], palette[3 * index + 1], palette[3 * index + 2]) for index in used.tolist()]
    found = [colors.get(color) for color in shown]
    return None not in found and len(set(shown)) == len(shown) and found != used.tolist()


def _ids(path: Path, pixels: npt.NDArray[np.uint8], colors: Colors) -> Ids:
    codes = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    found, where = np.unique(codes, return_inverse=True)
    table = {red * 65536 + green * 256 + blue: index for (red, green, blue), index in colors.items()}
    if unknown := [f"#{code:06x}" for code in found.tolist() if code not in table]:
        raise MaskError(f"{path}: colours {unknown[:5]} stand for no class; save ids, or list each class's colour")
    ids = np.array([table[code] for code in found.tolist()], np.uint8)
    return ids[where].reshape(codes.shape)
