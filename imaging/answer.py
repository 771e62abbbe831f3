"""Encodes a segmented image in every form of answer. HTTP and the command line return the same bytes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.arrays import Ids, Pixels
from imaging.classes import Label, object_ids
from imaging.coco import coco_document
from imaging.conversion import STORED_LAYOUTS
from imaging.cutout import ObjectBox, cut_out, cutout_file
from imaging.encoding import Palette, binary_png, color_picture, grey_png, mask_png
from imaging.overlay import overlay_picture
from imaging.palette import display_palette, hex_color
from imaging.polygons import REGIONS_AT_ONCE, MultiPolygon, to_lists, trace
from imaging.rendering import Rendering
from imaging.runs import ColumnRuns, column_runs, encode_rle
from imaging.shapes import shapes_answer
from imaging.shown import choose_regions, without_unsure


@dataclass(frozen=True)
class ClassStatistics:
    """Number of pixels of one class, and their bounding box (x, y, width, height) in pixels."""

    id: int
    pixels: int
    bbox: tuple[int, int, int, int]


class Labels(Protocol):
    """A label set: its classes, indexed by id, and a palette with a colour for each of 256 ids."""

    @property
    def classes(self) -> Sequence[Label]: ...
    @property
    def palette(self) -> Palette: ...


@dataclass(frozen=True, repr=False)
class Segmentation:
    """The network's result for an image.

    class_map: uint8 (H, W) class ids. confidence: uint8 (H, W), round(255 x probability of the pixel's class), as
    `Rows.class_ids_and_confidence` defines it; None if the rendering does not need it. mean_confidence: for each class id, the
    mean of that probability over the class's pixels; empty if confidence was not computed.
    probabilities: float16 (classes, H, W); None if not needed. counts: for each class id, its number of pixels.
    foreground: uint8 (H, W), round(255 x probability that the pixel's class is one of the classes that the rendering shows),
    None if not needed. It is 255 or 0 where `min_area` or `fill_holes` moved a pixel into or out of these classes.
    """

    class_map: Ids
    confidence: Pixels | None = None
    mean_confidence: tuple[float, ...] = ()
    probabilities: npt.NDArray[np.float16] | None = None
    counts: tuple[int, ...] = ()
    foreground: Pixels | None = None

    def __repr__(self) -> str:
        height, width = self.class_map.shape
        parts = [name for name in ("confidence", "probabilities", "foreground") if getattr(self, name) is not None]
        classes = int(np.count_nonzero(self.counts))
        return f"<Segmentation {height}x{width} (height x width), {classes} classes{''.join(f', {part}' for part in parts)}>"

    def stored(self, orientation: int) -> Segmentation:
        """With class map and confidence as a file of this EXIF orientation stores its pixels."""
        if not (layout := STORED_LAYOUTS.get(orientation)):
            return self
        confidence = None if self.confidence is None else np.ascontiguousarray(layout(self.confidence))
        return replace(self, class_map=np.ascontiguousarray(layout(self.class_map)), confidence=confidence)

    @property
    def overall_confidence(self) -> float:
        """The mean confidence of all pixels. Only valid if confidence was computed."""
        mean = np.dot(self.counts, self.mean_confidence) / sum(self.counts)
        return min(1.0, float(mean))  # rounding may exceed 1


@dataclass(frozen=True)
class SegmentedImage:
    """A segmented image, ready to be encoded.

    model, tiling: parts of the JSON answer. photo: uint8 (H, W, 3), or None if the rendering does not need it. cell: pixels
    that a cell of the network covers along an axis. profile: the photo's ICC profile, which pictures of it get.
    """

    result: Segmentation
    labels: Labels
    model: Mapping[str, str]
    tiling: Mapping[str, Any]
    photo: Pixels | None = None
    cell: float = 8
    profile: bytes | None = None

    def encode(self, rendering: Rendering) -> bytes:
        """The answer's bytes, with what `shown` leaves of the image."""
        return self.shown(rendering).encode_with_box(rendering)[0]

    def encode_with_box(self, rendering: Rendering) -> tuple[bytes, ObjectBox | None]:
        """The answer's bytes, and of a cut-out the object's box (left, top, width, height), if there is an object.

        The image is one of `shown`. Equal images give equal bytes. Raises `AnswerTooLarge` and `WrongParameter`.
        """
        rendering.check((self.result.class_map.shape[0], self.result.class_map.shape[1]))
        class_ids = rendering.class_ids(self.labels.classes)
        if rendering.format == "cutout":
            return self._cutout(rendering, class_ids)
        return self._encode(rendering, class_ids), None

    def _cutout(self, rendering: Rendering, class_ids: Collection[int]) -> tuple[bytes, ObjectBox | None]:
        if self.photo is None or self.result.foreground is None:
            raise ValueError("a cutout needs the photo and the probability of its classes")
        picture = cut_out(self.photo, self.result.class_map, class_ids, self.result.foreground, self.cell)
        form, crop, background = rendering.picture_format, rendering.crop, rendering.background
        return cutout_file(picture, form, crop=crop, background=background, profile=self.profile)

    def _encode(self, rendering: Rendering, class_ids: Collection[int]) -> bytes:
        class_map, labels, picture_format = self.result.class_map, self.labels.classes, rendering.picture_format
        match rendering.format:
            case "json":
                return _json(self._document(rendering, class_ids))
            case "coco" if rendering.shapes:
                ids = object_ids(rendering.classes, labels)
                return shapes_answer(class_map, self.result.confidence, labels, ids, rendering.tolerance)
            case "coco":
                tolerance, is_shared = rendering.tolerance if rendering.polygons else None, rendering.shares_borders
                return _json(coco_document(class_map, labels, class_ids, rendering.name, tolerance, shares_borders=is_shared))
            case "hf":
                return _json(class_masks(class_map, labels, self.result.mean_confidence, rendering.threshold))
            case "npz":
                return _npz({name: getattr(self.result, name) for name in ("class_map", "confidence", "probabilities")})
            case "color":
                return color_picture(class_map, self._colors(rendering), class_ids, picture_format)
            case "overlay":
                if self.photo is None:
                    raise ValueError("an overlay needs the photo")
                names = {label.id: label.name for label in labels} if rendering.names else {}
                colors, alpha = self._colors(rendering), rendering.alpha
                return overlay_picture(self.photo, class_map, colors, alpha, class_ids, picture_format, names, self.profile)
            case "binary":
                return binary_png(class_map, class_ids)
            case "grey":
                return grey_png(class_map)
            case "confidence":
                return grey_png(self._confidence())
            case "png":
                return mask_png(class_map, self.labels.palette)
            case "cutout" | "geotiff" | "geojson":
                raise ValueError(f"format={rendering.format} needs more than a segmented image")

    def _colors(self, rendering: Rendering) -> Palette:
        return display_palette(self.labels.classes) if rendering.palette == "display" else self.labels.palette

    def _confidence(self) -> Pixels:
        if self.result.confidence is None:
            raise ValueError("confidence was not computed; this rendering does not ask for it")
        return self.result.confidence

    def shown(self, rendering: Rendering) -> SegmentedImage:
        """This image with void where the rendering shows nothing.

        That is at pixels below its `min_confidence` (rounded to steps of 1/255), then in the regions that it leaves out. Raises
        `AnswerTooLarge` and `WrongParameter`.
        """
        result = self.result
        if (least := rendering.min_confidence) > 0:
            class_map = without_unsure(result.class_map, self._confidence(), least)
            means = mean_confidences(class_map, self._confidence())
            result = replace(result, class_map=class_map, mean_confidence=means)
        if rendering.chooses_regions:
            ids, least = rendering.class_ids(self.labels.classes), rendering.min_object_confidence
            sure, largest = self._confidence() if least else None, rendering.objects == "largest"
            class_map, foreground = choose_regions(
                result.class_map, result.foreground, ids, sure, least, largest=largest, cell=self.cell
            )
            result = replace(result, class_map=class_map, foreground=foreground)
        return replace(self, result=result)

    def object_pixels(self, rendering: Rendering) -> int | None:
        """How many pixels have the classes of `object_ids`, without void; None if the rendering takes no classes."""
        if not rendering.uses("classes"):
            return None
        counts = class_pixels(self.result.class_map)
        return sum(counts[id] for id in object_ids(rendering.classes, self.labels.classes))

    def _document(self, rendering: Rendering, class_ids: Collection[int]) -> dict[str, Any]:
        height, width = self.result.class_map.shape
        runs, display_colors = column_runs(self.result.class_map), display_palette(self.labels.classes)
        classes = [
            {
                "id": entry.id,
                "name": self.labels.classes[entry.id].name if entry.id < len(self.labels.classes) else "void",
                "color": hex_color(self.labels.palette[entry.id]),
                "display_color": hex_color(display_colors[entry.id]),
                "pixels": entry.pixels,
                "fraction": round(entry.pixels / (height * width), 6),
                "mean_confidence": round(self.result.mean_confidence[entry.id], 6) if self.result.mean_confidence else None,
                "bbox": list(entry.bbox),
            }
            for entry in class_statistics(runs)
        ]
        document = {
            "model": dict(self.model),
            "image": {"width": width, "height": height},
            "classes": classes,
            "class_map": self._class_map(rendering, runs, [entry["id"] for entry in classes], class_ids),
            "tiling": dict(self.tiling),
        }
        if rendering.confidence:
            document["confidence_map"] = {"encoding": "png", "data": _base64(grey_png(self._confidence()))}
        return document

    def _class_map(
        self, rendering: Rendering, runs: ColumnRuns, ids: Sequence[int], class_ids: Collection[int]
    ) -> dict[str, Any]:
        if rendering.mask == "array":
            return {"encoding": "array", "data": self.result.class_map.tolist()}
        if rendering.mask == "png":
            return {"encoding": "png", "data": _base64(mask_png(self.result.class_map, self.labels.palette))}
        size = list(self.result.class_map.shape)
        if rendering.mask == "polygons":
            polygons: dict[str, MultiPolygon] = {str(id): [] for id in ids if id in class_ids}
            is_shared = rendering.shares_borders
            features = trace(self.result.class_map, [*map(int, polygons)], rendering.tolerance, shares_borders=is_shared)
            while batch := list(islice(features, REGIONS_AT_ONCE)):
                for each, rings in zip(batch, to_lists([each.polygon for each in batch]), strict=True):
                    polygons[str(each.id)].append(rings)
            return {"encoding": "polygons", "size": size, "tolerance": rendering.tolerance, "polygons": polygons}
        return {"encoding": "rle", "size": size, "counts": encode_rle(runs, ids)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _json(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _npz(arrays: dict[str, npt.NDArray[Any] | None]) -> bytes:
    """Compresses the arrays into one file and omits names whose value is None. Equal arrays give equal bytes."""
    buffer = io.BytesIO()
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
    np.savez_compressed(buffer, **contiguous)  # type: ignore[arg-type]
    return buffer.getvalue()


def class_statistics(runs: ColumnRuns) -> list[ClassStatistics]:
    """Statistics of the classes that are present, largest first. Of equal ones, the lower id comes first."""
    ends = runs.ends
    statistics = []
    for id in np.unique(runs.ids).tolist():
        indices = np.flatnonzero(runs.ids == id)
        starts, lengths = runs.starts[indices], ends[indices] - runs.starts[indices]
        columns, rows = np.divmod(starts, runs.height)
        left, top = int(columns[0]), int(rows.min())
        bbox = left, top, int(columns[-1]) - left + 1, int((rows + lengths).max()) - top
        statistics.append(ClassStatistics(id, int(lengths.sum(dtype=np.int64)), bbox))
    return sorted(statistics, key=lambda entry: (-entry.pixels, entry.id))


def class_pixels(class_map: Ids) -> list[int]:
    """For each id from 0 to 255, its number of pixels in a class map, uint8 (H, W)."""
    return Image.fromarray(class_map).histogram()  # several times faster than NumPy, which widens each pixel first


def mean_confidences(class_map: Ids, confidence: Pixels) -> tuple[float, ...]:
    """For each id from 0 to 255, the mean confidence (0 to 1) of its pixels; 0 if it has no pixels."""
    counts = np.zeros(1 << 16, np.int64)
    for ids, values in zip(class_map, confidence, strict=True):
        counts += np.bincount(ids.astype(np.uint16) * 256 + values, minlength=1 << 16)
    table = counts.reshape(256, 256)
    return tuple((table @ np.arange(256) / 255 / np.maximum(table.sum(1), 1)).tolist())


def class_masks(
    class_map: Ids, labels: Sequence[Label], mean_confidence: Sequence[float], threshold: float
) -> list[dict[str, Any]]:
    """The present classes, largest first, each with `label`, `score` (its mean confidence) and `mask`. Void is left out.

    class_map: uint8 (H, W). mean_confidence: by class id, 0 to 1; empty for a network without confidence, whose
    scores are null. threshold: 0 to 1; classes of a lower score are left out. A
    mask is an 8-bit grey PNG in base64, 255 where the class is.
    Source: Hugging Face, "Inference Providers: Image Segmentation", `ImageSegmentationOutput`.
    """
    pixels = class_pixels(class_map)
    scores = {label.id: round(mean_confidence[label.id], 6) for label in labels} if mean_confidence else {}
    present = [label for label in labels if pixels[label.id] and scores.get(label.id, 1.0) >= threshold]
    return [
        {
            "label": label.name,
            "score": scores.get(label.id),
            "mask": base64.b64encode(binary_png(class_map, {label.id})).decode(),
        }
        for label in sorted(present, key=lambda label: (-pixels[label.id], label.id))
    ]
