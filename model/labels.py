"""Label sets: the ids, names and colours of classes, and their palettes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imaging.palette import Color, hex_color

VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CAMVID_COLORS = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
VOID_COLOR = (224, 224, 192)


class LabelError(ValueError):
    """A label set that is malformed or contradicts itself."""


@dataclass(frozen=True)
class LabelClass:
    """One class: its id (0 to 254, the pixel's value in a mask), name, and RGB colour."""

    id: int
    name: str
    color: Color

    @property
    def hex_color(self) -> str:
        return hex_color(self.color)


@dataclass(frozen=True)
class LabelSet:
    """Classes with ids 0 to n-1 in order, and the id of pixels without a label in masks. Raises `LabelError`."""

    classes: tuple[LabelClass, ...]
    ignore_index: int = 255

    def __post_init__(self) -> None:
        ids = [entry.id for entry in self.classes]
        if ids != list(range(len(ids))) or not ids:
            raise LabelError(f"class ids must be 0 to n-1 in order, got {ids}")
        if len(ids) > 255:
            raise LabelError(f"a label set has at most 255 classes: masks have 8 bits, and one value is void; got {len(ids)}")
        if not 0 <= self.ignore_index <= 255 or self.ignore_index in ids:
            raise LabelError(f"ignore_index must be 0 to 255 and no class's id, got {self.ignore_index}")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.classes]

    @property
    def palette(self) -> list[Color]:
        """256 RGB colours: those of the classes, the void colour at `ignore_index` and 255, and black for all others."""
        colors: list[Color] = [(0, 0, 0)] * 256
        colors[self.ignore_index] = colors[255] = VOID_COLOR
        for entry in self.classes:
            colors[entry.id] = entry.color
        return colors

    def to_list(self) -> list[dict[str, Any]]:
        return [{"id": entry.id, "name": entry.name, "color": entry.hex_color} for entry in self.classes]

    @classmethod
    def from_list(cls, entries: Iterable[Mapping[str, Any]], ignore_index: int) -> LabelSet:
        """The label set of `[{"id", "name", "color": "#rrggbb"}]`; raises `LabelError`."""
        try:
            classes = tuple(LabelClass(int(entry["id"]), str(entry["name"]), parse_color(entry["color"])) for entry in entries)
        except LabelError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(f"each class needs id, name and color: {error}") from error
        return cls(classes, ignore_index)


def parse_color(text: str) -> Color:
    """Parses a colour `#rrggbb` to RGB; raises `LabelError`."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise LabelError(f"a color must be written #rrggbb, got {text!r}")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def voc_color(index: int) -> Color:
    """The RGB colour of an id in the Pascal VOC palette.

    Bits 0, 1 and 2 of the id become the top bits of red, green and blue; bits 3, 4 and 5 the next lower ones, and so on.
    """
    channels = [0, 0, 0]
    for level in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * level + channel) & 1) << (7 - level)
    return channels[0], channels[1], channels[2]


def voc_labels() -> LabelSet:
    """The 21 classes of Pascal VOC (Everingham et al. 2010); 255 is void."""
    return numbered_labels(VOC_NAMES)


def camvid_labels() -> LabelSet:
    """The 11 classes of CamVid (Brostow et al. 2009) in the split of the SegNet tutorial; 11 is unlabelled."""
    return LabelSet(tuple(LabelClass(i, *item) for i, item in enumerate(CAMVID_COLORS.items())), ignore_index=11)


def numbered_labels(names: Sequence[str]) -> LabelSet:
    """A label set with these names in order, and colours of the VOC palette."""
    return LabelSet(tuple(LabelClass(i, name, voc_color(i)) for i, name in enumerate(names)))
