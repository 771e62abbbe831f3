"""Turns the service's answers into predictions of Label Studio."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcn_client.aio import AsyncSegmentClient
from fcn_client.label_studio import brush
from fcn_client.label_studio.configuration import Control
from fcn_client.matching import match
from fcn_client.parameters import Options
from fcn_client.regions import outlines, regions
from fcn_client.results import Segmentation

PERCENT = 100.0
DIGITS = 4  # of scores and of percent coordinates: a hundredth of a pixel at 10,000 pixels


@dataclass(frozen=True)
class Predictor:
    """Asks the service for an image and gives its prediction.

    options: of the service. tolerance: how far a polygon's point may move, in pixels; None is the service's choice.
    aliases: the labels of classes that are named otherwise in Label Studio.
    """

    client: AsyncSegmentClient
    options: Options
    tolerance: float | None
    aliases: Mapping[str, str]

    async def predict(self, image: bytes, control: Control) -> dict[str, Any]:
        """The prediction: a result for each connected region of a class that has a label.

        The score of a result is the mean confidence of its pixels. The score of the prediction is that of all pixels; Label
        Studio can sort tasks by it. Raises `SegmentError`.
        """
        result = await self.client.segment(image, confidence=True, **self.options)
        document: dict[str, Any] = {}
        if control.kind == "polygonlabels":
            document = await self.client.coco(image, mask="polygons", tolerance=self.tolerance, **self.options)
        return await asyncio.to_thread(self._prediction, result, document, control)

    def _prediction(self, result: Segmentation, document: Mapping[str, Any], control: Control) -> dict[str, Any]:
        labels = match(result.labels, control.labels, self.aliases)
        values = _polygons(result, document, labels) if document else _brushes(result, labels)
        assert result.confidence is not None
        return {
            "result": [_result(value, score, result, control) for value, score in values],
            "score": round(float(result.confidence.mean()) / 255, DIGITS),
            "model_version": version(result.model),
        }


def version(model: Mapping[str, str]) -> str:
    """The model's name and the first digits of its sha256. Label Studio asks for predictions again once this changes."""
    return f"{model['name']} {model['sha256'][:8]}"


Value = tuple[dict[str, Any], float]


def _brushes(result: Segmentation, labels: Mapping[int, str]) -> Iterator[Value]:
    height, width = result.class_map.shape
    for region in regions(result, labels):
        rle = brush.encode(region.mask, left=region.left, top=region.top, size=(height, width))
        yield {"format": "rle", "rle": rle, "brushlabels": [labels[region.id]]}, region.score


def _polygons(result: Segmentation, document: Mapping[str, Any], labels: Mapping[int, str]) -> Iterator[Value]:
    height, width = result.class_map.shape
    for outline in outlines(result, document):
        if outline.id in labels:
            points = np.round(outline.points / [width, height] * PERCENT, DIGITS).tolist()
            yield {"points": points, "closed": True, "polygonlabels": [labels[outline.id]]}, outline.score


def _result(value: Mapping[str, Any], score: float, result: Segmentation, control: Control) -> dict[str, Any]:
    height, width = result.class_map.shape
    return {
        "id": uuid.uuid4().hex[:10],
        "type": control.kind,
        "from_name": control.from_name,
        "to_name": control.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(score, DIGITS),
        "value": value,
    }
