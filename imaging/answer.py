"""Every form in which a segmented image is answered; HTTP and the command line give the same bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from imaging.arrays import npz
from imaging.coco import coco_document
from imaging.encoding import Palette, color_png, grey_png, mask_png, overlay_png
from imaging.polygons import to_lists, trace
from imaging.rle import encode_rle
from imaging.statistics import class_statistics, mean_confidences

Format = Literal["png", "color", "overlay", "confidence", "json", "coco", "npz"]
MaskEncoding = Literal["rle", "png", "array", "polygons"]
Check = Callable[[], None]
"""Called now and then while an answer is encoded; ends the work by raising."""
FORMATS: tuple[str, ...] = get_args(Format)
VOID = 255
MEDIA_TYPES: dict[str, str] = {"json": "application/json", "coco": "application/json", "npz": "application/x-npz"}
SUFFIXES: dict[str, str] = {"json": ".json", "coco": ".json", "npz": ".npz"}
MOST_REGIONS = 200_000  # of all classes together, as polygons: each takes some 2 kB
MOST_MASKS = 150_000  # likewise, as COCO's run lengths, and of small images one for every 16 pixels
MASK_BYTES = 1100
MEGAPIXELS = {"mask=array": 4.0, "mask=polygons": 16.0, "probabilities": 4.0}


FIXED_BYTES = 16 << 20
# bytes a pixel, measured on maps as mixed as logits with a cell for every two pixels make them
TAKEN = {
    "png": 5, "color": 12, "overlay": 20, "confidence": 5, "json": 12, "coco": 12, "npz": 6,
    "mask=array": 24, "mask=polygons": 100,
}  # fmt: skip


class ArrayTooLarge(ValueError):
    """An image too large for the form that is asked for."""


class Label(Protocol):
    """A class: its id, its name, and its colour as `#rrggbb`."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def hex_color(self) -> str: ...


class Labels(Protocol):
    """The classes by id, and a colour for each of 256 ids."""

    @property
    def classes(self) -> Sequence[Label]: ...
    @property
    def palette(self) -> Palette: ...


@dataclass(frozen=True)
class Rendering:
    """What is wanted: the format, and how it is filled.

    mask: with JSON, how the class map is written; with COCO, `polygons` or run lengths. alpha: opacity of an overlay.
    confidence: with JSON, whether the confidence map is added; probabilities: with npz, whether each class's are.
    min_confidence: pixels below it become 255, void. tolerance: of polygons, in pixels. name: the image's, for COCO.
    """

    format: Format = "png"
    mask: MaskEncoding = "rle"
    alpha: float = 0.5
    confidence: bool = False
    probabilities: bool = False
    min_confidence: float = 0.0
    tolerance: float = 1.0
    name: str = "image"

    @property
    def needs_confidence(self) -> bool:
        return self.format in ("json", "confidence", "npz") or self.min_confidence > 0

    @property
    def needs_probabilities(self) -> bool:
        return self.format == "npz" and self.probabilities

    @property
    def needs_photo(self) -> bool:
        return self.format == "overlay"

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES.get(self.format, "image/png")

    @property
    def suffix(self) -> str:
        """Of the answer's file name."""
        return SUFFIXES.get(self.format, ".png")

    def taken_bytes(self, pixels: int, classes: int) -> int:
        """At most so many bytes does encoding an image of so many pixels take, beside what it is given."""
        if self._limited:
            return FIXED_BYTES + pixels * (TAKEN[self._limited] if not self.needs_probabilities else 4 * classes)
        masks = most_masks(pixels) * MASK_BYTES if self.format == "coco" else 0
        return FIXED_BYTES + pixels * TAKEN[self.format] + masks

    def check(self, size: tuple[int, int]) -> None:
        """Raises `ArrayTooLarge` where an image of this (height, width) cannot be answered so."""
        megapixels, asked = size[0] * size[1] / 1e6, self._limited
        if asked and megapixels > MEGAPIXELS[asked]:
            stated = f"{asked} is given up to {MEGAPIXELS[asked]:g} megapixels, and this image has {megapixels:.1f}"
            raise ArrayTooLarge(f"{stated}; ask for mask=rle or mask=png, without probabilities")

    @property
    def _limited(self) -> str | None:
        """What of it is given for images of so many `MEGAPIXELS` alone."""
        if self.needs_probabilities:
            return "probabilities"
        limited = {"json": ("array", "polygons"), "coco": ("polygons",)}.get(self.format, ())
        return f"mask={self.mask}" if self.mask in limited else None


@dataclass(frozen=True)
class Answer:
    """A segmented image and what is said of it.

    image: uint8 (H, W, 3), where the rendering needs the photo. class_map: uint8 (H, W). confidence: uint8 (H, W), and
    probabilities: float16 (classes, H, W), where they were computed; mean_confidence per class id. model and tiling:
    parts of the JSON answer.
    """

    image: npt.NDArray[np.uint8] | None
    class_map: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8] | None
    probabilities: npt.NDArray[np.float16] | None
    mean_confidence: Sequence[float]
    labels: Labels
    model: Mapping[str, str]
    tiling: Mapping[str, Any]

    def encode(self, rendering: Rendering, check: Check = lambda: None) -> bytes:
        """The answer's bytes; equal answers give equal bytes. Raises `ArrayTooLarge`, and what `check` raises."""
        rendering.check((self.class_map.shape[0], self.class_map.shape[1]))
        answer = self._certain(rendering.min_confidence) if rendering.min_confidence > 0 else self
        if rendering._limited == "mask=polygons":
            check = _counted(check, MOST_REGIONS, "polygons; ask for mask=rle")
        elif rendering.format == "coco":
            check = _counted(check, most_masks(self.class_map.size), "COCO's annotations; ask for format=json or format=png")
        if rendering.format == "json":
            return _json(answer._document(rendering, check))
        if rendering.format == "coco":
            tolerance = rendering.tolerance if rendering.mask == "polygons" else None
            return _json(coco_document(answer.class_map, self.labels.classes, rendering.name, tolerance, check))
        if rendering.format == "npz":
            return npz({name: getattr(answer, name) for name in ("class_map", "confidence", "probabilities")})
        return answer._picture(rendering)

    def _picture(self, rendering: Rendering) -> bytes:
        palette = self.labels.palette
        if rendering.format == "color":
            return color_png(self.class_map, palette)
        if rendering.format == "overlay":
            if self.image is None:
                raise ValueError("an overlay needs the photo")
            return overlay_png(self.image, self.class_map, palette, rendering.alpha)
        if rendering.format == "confidence":
            return grey_png(self._confidence())
        return mask_png(self.class_map, palette)

    def _confidence(self) -> npt.NDArray[np.uint8]:
        if self.confidence is None:
            raise ValueError("confidence was not computed; segment with a temperature")
        return self.confidence

    def _certain(self, least: float) -> Answer:
        """The answer where pixels of less confidence than this (0 to 1, in steps of 1/255) are void."""
        confidence = self._confidence()
        class_map = np.where(confidence < round(least * 255), np.uint8(VOID), self.class_map)
        return replace(self, class_map=class_map, mean_confidence=mean_confidences(class_map, confidence))

    def _document(self, rendering: Rendering, check: Check) -> dict[str, Any]:
        height, width = self.class_map.shape
        classes = [
            {
                "id": entry.id,
                **self._named(entry.id),
                "pixels": entry.pixels,
                "fraction": round(entry.pixels / (height * width), 6),
                "mean_confidence": round(self.mean_confidence[entry.id], 6),
                "bbox": list(entry.bbox),
            }
            for entry in class_statistics(self.class_map)
        ]
        document = {
            "model": dict(self.model),
            "image": {"width": width, "height": height},
            "classes": classes,
            "class_map": self._class_map(rendering, [entry["id"] for entry in classes], check),
            "tiling": dict(self.tiling),
        }
        if rendering.confidence:
            document["confidence_map"] = {"encoding": "png", "data": _base64(grey_png(self._confidence()))}
        return document

    def _named(self, id: int) -> dict[str, str]:
        if id < len(self.labels.classes):
            return {"name": self.labels.classes[id].name, "color": self.labels.classes[id].hex_color}
        return {"name": "void", "color": "#{:02x}{:02x}{:02x}".format(*self.labels.palette[id])}

    def _class_map(self, rendering: Rendering, ids: Sequence[int], check: Check) -> dict[str, Any]:
        if rendering.mask == "array":
            return {"encoding": "array", "data": self.class_map.tolist()}
        if rendering.mask == "png":
            return {"encoding": "png", "data": _base64(mask_png(self.class_map, self.labels.palette))}
        size = list(self.class_map.shape)
        if rendering.mask == "polygons":
            polygons = {str(i): to_lists(trace(self.class_map == i, rendering.tolerance, check)) for i in ids}
            return {"encoding": "polygons", "size": size, "tolerance": rendering.tolerance, "polygons": polygons}
        return {"encoding": "rle", "size": size, "counts": encode_rle(self.class_map, ids)}


def most_masks(pixels: int) -> int:
    """So many regions are written as COCO's run lengths of an image of so many pixels, at most."""
    return min(MOST_MASKS, 1000 + pixels // 16)


def _counted(check: Check, most: int, form: str) -> Check:
    """The check, which is called for each region, and raises `ArrayTooLarge` after `most` of them."""
    regions = 0

    def counted() -> None:
        nonlocal regions
        regions += 1
        if regions > most:
            raise ArrayTooLarge(f"the map has more than {most} regions, too many for {form}")
        check()

    return counted


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
