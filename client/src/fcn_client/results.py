"""What the service answers, as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Label:
    """A class: its id (the pixel's value), name, and colour as `#rrggbb`."""

    id: int
    name: str
    color: str


@dataclass(frozen=True)
class Model:
    """A network that is served: its name, the sha256 of its weights, what runs it (`openvino`, `torch`), and its precision."""

    name: str
    sha256: str
    runtime: str
    precision: str
    default: bool
    classes: tuple[Label, ...]


@dataclass(frozen=True)
class ClassShare:
    """A class that is present: pixels, fraction (0 to 1), mean confidence (0 to 1), and bbox (x, y, width, height)."""

    id: int
    name: str
    color: str
    pixels: int
    fraction: float
    mean_confidence: float
    bbox: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The answer for one image.

    class_map: uint8 (H, W) class ids, 255 void. confidence: uint8 (H, W), 255 x the winning class's probability, where it was
    asked for. classes: those present, largest first. model: name, sha256, runtime and precision. tiling: how the image was
    cut. timing: milliseconds a stage.
    """

    class_map: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8] | None
    classes: tuple[ClassShare, ...]
    model: Mapping[str, str]
    tiling: Mapping[str, Any]
    request_id: str
    timing: Mapping[str, float]

    def mask(self, label: str | int) -> npt.NDArray[np.bool_]:
        """Where this class is, by name or id, bool (H, W); raises `KeyError` for a name that is not present."""
        ids = {entry.name: entry.id for entry in self.classes}
        if isinstance(label, str) and label not in ids:
            raise KeyError(f"no {label!r} in this image; present are {', '.join(ids)}")
        inside: npt.NDArray[np.bool_] = self.class_map == (ids[label] if isinstance(label, str) else label)
        return inside
