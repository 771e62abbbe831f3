"""Typed values for the service's answers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

VOID = 255
Ring = npt.NDArray[np.float64]
"""A closed line, float64 (N, 2): x and y in pixels from the upper left corner. The first point is also the last."""
Polygon = list[Ring]
"""The outer ring of a region, then its holes."""


@dataclass(frozen=True)
class Label:
    """A class: its id (the value of its pixels), its name, and its colours as `#rrggbb`.

    color: that of the label set. display_color: the one of overlays, made to be seen.
    """

    id: int
    name: str
    color: str
    display_color: str


@dataclass(frozen=True)
class Model:
    """A network that the service offers.

    sha256: of its weights. runtime: the library that runs it (`openvino`, `torch`). precision: its number format. default:
    whether the service uses it if a request names no model.
    """

    name: str
    sha256: str
    runtime: str
    precision: str
    default: bool
    classes: tuple[Label, ...]


@dataclass(frozen=True)
class ClassShare:
    """A class that is present in an image.

    color, display_color: as in `Label`. pixels: their number. fraction: share of the image's pixels, 0 to 1. mean_confidence:
    0 to 1, or None for a network that gives class ids alone. bbox: (x, y, width, height) in pixels.
    """

    id: int
    name: str
    color: str
    pixels: int
    fraction: float
    mean_confidence: float | None
    bbox: tuple[int, int, int, int]
    display_color: str = ""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The answer for one image.

    class_map: uint8 (H, W), class ids; 255 is void. confidence: uint8 (H, W), 255 x the winning class's probability; None
    unless requested. classes: those present, largest first. model: name, sha256, runtime and precision. tiling: how the image
    was cut into tiles. request_id: the request's id in the service's log. timing: milliseconds per stage. labels: all classes
    of the model, whether present or not. remark: what the service tells of how it has read the image, if anything.
    """

    class_map: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8] | None
    classes: tuple[ClassShare, ...]
    model: Mapping[str, str]
    tiling: Mapping[str, Any]
    request_id: str
    timing: Mapping[str, float]
    labels: tuple[Label, ...]
    remark: str = ""

    def mask(self, label: str | int) -> npt.NDArray[np.bool_]:
        """The mask of a class of the model, given its name (in any case) or id: bool (H, W), all False if the image lacks it.

        The id 255 is void. Raises `KeyError` for a class that the model lacks; the message has the nearest name, or the list.
        """
        ids = {entry.name: entry.id for entry in self.labels}
        lower_ids = {name.casefold(): id for name, id in ids.items()}
        id = ids.get(label, lower_ids.get(label.casefold())) if isinstance(label, str) else label
        if id is None or id not in {*ids.values(), VOID}:
            near = difflib.get_close_matches(str(label), ids, 1)
            choices = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ids)}"
            raise KeyError(f"the model {self.model['name']} has no class {label!r}; {choices}")
        inside: npt.NDArray[np.bool_] = self.class_map == id
        return inside
