"""Every form in which a segmented image is answered; HTTP and the command line give the same bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from imaging.encoding import Palette, color_png, grey_png, mask_png, overlay_png
from imaging.rle import encode_rle
from imaging.statistics import class_statistics

Format = Literal["png", "color", "overlay", "confidence", "json"]
MaskEncoding = Literal["rle", "png", "array"]
FORMATS: tuple[str, ...] = get_args(Format)
ARRAY_MEGAPIXELS = 4.0


class ArrayTooLarge(ValueError):
    """A class map too large to be written as nested lists."""


class Label(Protocol):
    """A class: its name, and its colour as `#rrggbb`."""

    @property
    def name(self) -> str: ...
    @property
    def hex_color(self) -> str: ...


@dataclass(frozen=True)
class Rendering:
    """What is wanted: the format, with JSON the class map's encoding, with an overlay its opacity."""

    format: Format = "png"
    mask: MaskEncoding = "rle"
    alpha: float = 0.5

    @property
    def needs_confidence(self) -> bool:
        return self.format in ("json", "confidence")

    @property
    def needs_photo(self) -> bool:
        return self.format == "overlay"

    @property
    def media_type(self) -> str:
        return "application/json" if self.format == "json" else "image/png"

    def check(self, size: tuple[int, int]) -> None:
        """Raises `ArrayTooLarge` where an image of this (height, width) cannot be answered so."""
        megapixels = size[0] * size[1] / 1e6
        if self.format == "json" and self.mask == "array" and megapixels > ARRAY_MEGAPIXELS:
            stated = f"mask=array is given up to {ARRAY_MEGAPIXELS:g} megapixels, and this image has {megapixels:.1f}"
            raise ArrayTooLarge(f"{stated}; ask for mask=rle or mask=png")


@dataclass(frozen=True)
class Answer:
    """A segmented image and what is said of it.

    image: uint8 (H, W, 3), where the rendering needs the photo. class_map: uint8 (H, W). confidence: uint8 (H, W) where
    it was computed, with mean_confidence per class id. labels and palette: by class id. model and tiling: parts of the
    JSON answer.
    """

    image: npt.NDArray[np.uint8] | None
    class_map: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8] | None
    mean_confidence: Sequence[float]
    labels: Sequence[Label]
    palette: Palette
    model: Mapping[str, str]
    tiling: Mapping[str, Any]

    def encode(self, rendering: Rendering) -> bytes:
        """The answer's bytes; equal answers give equal bytes. Raises `ArrayTooLarge`."""
        rendering.check((self.class_map.shape[0], self.class_map.shape[1]))
        if rendering.format == "json":
            return json.dumps(self._document(rendering.mask), separators=(",", ":")).encode()
        if rendering.format == "color":
            return color_png(self.class_map, self.palette)
        if rendering.format == "overlay":
            if self.image is None:
                raise ValueError("an overlay needs the photo")
            return overlay_png(self.image, self.class_map, self.palette, rendering.alpha)
        if rendering.format == "confidence":
            if self.confidence is None:
                raise ValueError("confidence was not computed; segment with a temperature")
            return grey_png(self.confidence)
        return mask_png(self.class_map, self.palette)

    def _document(self, mask: MaskEncoding) -> dict[str, Any]:
        height, width = self.class_map.shape
        classes = [
            {
                "id": entry.id,
                "name": self.labels[entry.id].name,
                "color": self.labels[entry.id].hex_color,
                "pixels": entry.pixels,
                "fraction": round(entry.pixels / (height * width), 6),
                "mean_confidence": round(self.mean_confidence[entry.id], 6),
                "bbox": list(entry.bbox),
            }
            for entry in class_statistics(self.class_map)
        ]
        return {
            "model": dict(self.model),
            "image": {"width": width, "height": height},
            "classes": classes,
            "class_map": self._class_map(mask, [entry["id"] for entry in classes]),
            "tiling": dict(self.tiling),
        }

    def _class_map(self, mask: MaskEncoding, ids: Sequence[int]) -> dict[str, Any]:
        if mask == "array":
            return {"encoding": "array", "data": self.class_map.tolist()}
        if mask == "png":
            data = base64.b64encode(mask_png(self.class_map, self.palette)).decode()
            return {"encoding": "png", "data": data}
        return {"encoding": "rle", "size": list(self.class_map.shape), "counts": encode_rle(self.class_map, ids)}
