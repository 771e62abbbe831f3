"""Builds the network's result for an image from bands of averaged logits."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from common.arrays import Pixels, Size
from imaging.answer import Segmentation, class_pixels
from imaging.errors import WrongParameter
from imaging.rendering import Rendering
from model.inference.probabilities import softmax
from model.inference.runtime import Runtime
from model.inference.upsampling import Rows


def require_confidence(runtime: Runtime, rendering: Rendering) -> None:
    """Raises `WrongParameter` if an answer needs the confidence of pixels, and the network gives class ids alone."""
    needs_confidence = rendering.needs_confidence_map or rendering.needs_probabilities
    may_lack_confidence = (rendering.format == "geojson" or rendering.shapes) and rendering.min_confidence == 0
    if not runtime.manifest.has_logits and needs_confidence and not may_lack_confidence:
        raise WrongParameter(
            f"{runtime.identity.name} gives class ids alone, without scores, so there is no confidence: ask for another "
            "format, and leave out min_confidence, min_object_confidence, confidence and probabilities"
        )


class SegmentationBuilder:
    """Builds a `Segmentation` from its bands of rows. For one thread.

    temperature: of all probabilities. has_confidence: whether confidence is computed. foreground: the ids of the classes whose
    probability is the segmentation's `foreground`; None for no foreground.
    """

    def __init__(
        self, size: Size, classes: int, rendering: Rendering, temperature: float, has_confidence: bool,
        foreground: Collection[int] | None,
    ) -> None:  # fmt: skip
        self._temperature, self._has_confidence, self._foreground_ids = temperature, has_confidence, foreground
        self._foreground = None if foreground is None else np.empty(size, np.uint8)
        self._class_map = np.empty(size, np.uint8)
        self._confidence = np.empty(size, np.uint8) if rendering.needs_confidence_map and has_confidence else None
        self._probabilities = np.empty((classes, *size), np.float16) if rendering.needs_probabilities else None
        self._counts, self._sums = np.zeros(classes, np.intp), np.zeros(classes)

    def add(self, rows: Rows, ids: Pixels | None = None) -> None:
        """Adds the next rows. ids: their classes, uint8 (rows, width), if they are not those of `Rows.class_ids`."""
        at = rows.pixel_rows
        if self._foreground is not None:
            self._write_foreground(rows, ids, self._foreground[at])
        if not self._has_confidence:
            self._class_map[at] = rows.class_ids() if ids is None else ids
            self._counts += class_pixels(self._class_map[at])[: len(self._counts)]
            return
        confidence = None if self._confidence is None else self._confidence[at]
        if ids is None:
            result = rows.class_ids_and_confidence(self._temperature, confidence)
        else:
            result = rows.confidence_of(ids, self._temperature, confidence)
        self._class_map[at] = result.ids
        self._counts += result.counts
        self._sums += result.sums
        if self._probabilities is not None:
            for part, logits in rows.logits():
                self._probabilities[:, at][:, part] = softmax(logits, self._temperature)

    def finish(self) -> Segmentation:
        means = tuple((self._sums / np.maximum(self._counts, 1)).tolist()) if self._has_confidence else ()
        return Segmentation(
            self._class_map, self._confidence, means, self._probabilities, tuple(self._counts.tolist()), self._foreground
        )

    def _write_foreground(self, rows: Rows, ids: Pixels | None, out: Pixels) -> None:
        """Writes round(255 x probability of the foreground) to `out`, uint8 (rows, width). ids: as in `add`."""
        class_ids = list(self._foreground_ids or ())
        for at, probability in rows.probability_of(class_ids, self._temperature):
            probability *= 255
            out[at] = np.rint(probability)
        if ids is not None:
            inside = np.isin(np.arange(256), class_ids)
            changes = inside[ids] != inside[rows.class_ids()]
            out[changes] = np.where(inside[ids[changes]], 255, 0)
