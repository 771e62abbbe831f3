"""What the service answers, as typed values."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image

from fcn_client import rle


@dataclass(frozen=True)
class Label:
    """A class: its id (the pixel's value), name, and colour as `#rrggbb`."""

    id: int
    name: str
    color: str


@dataclass(frozen=True)
class Model:
    """A network that is served."""

    name: str
    sha256: str
    default: bool
    classes: tuple[Label, ...]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Model:
        classes = tuple(Label(**label) for label in entry["classes"])
        return cls(entry["name"], entry["sha256"], entry["default"], classes)


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
    asked for. classes: those present, largest first. model: name and sha256. tiling: how the image was cut. timing:
    milliseconds a stage.
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

    @classmethod
    def of(cls, response: httpx.Response) -> Segmentation:
        """From an answer with `format=json&mask=rle`."""
        document = response.json()
        size: tuple[int, int] = tuple(document["class_map"]["size"])
        confidence = document.get("confidence_map")
        classes = tuple(ClassShare(**entry | {"bbox": tuple(entry["bbox"])}) for entry in document["classes"])
        return cls(
            rle.class_map(document["class_map"]["counts"], size), _grey(confidence["data"]) if confidence else None, classes,
            document["model"], document["tiling"], response.headers.get("X-Request-ID", ""),
            _timing(response.headers.get("Server-Timing", "")),
        )  # fmt: skip


def _grey(data: str) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image)


def _timing(header: str) -> dict[str, float]:
    """Of `Server-Timing: decode;dur=1.2, ...`."""
    parts = (part.strip().partition(";dur=") for part in header.split(","))
    return {name: float(value) for name, _, value in parts if value}
