"""Turns the service's answers into predictions of Label Studio, as a project's labelling configuration asks for them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from fcn_client.aio import AsyncSegmentClient
from fcn_client.matching import match
from fcn_client.parameters import Options
from fcn_client.regions import outlines, regions
from fcn_client.results import Segmentation

PERCENT = 100.0
DIGITS = 4  # of scores and of percent coordinates: a hundredth of a pixel at 10,000 pixels
Kind = Literal["brushlabels", "polygonlabels"]
KINDS: dict[str, Kind] = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
CHANNELS = 4  # a brush label is an RGBA image
VALUE_BITS = 8
SIZES = (3, 6, 10, 16)
INSIDE, OUTSIDE = f"{255:08b}", f"{0:08b}"


class Unusable(Exception):
    """What Label Studio sends cannot be used, such as a configuration without a tag that takes the service's answers."""


@dataclass(frozen=True)
class Control:
    """The tag that takes the answers.

    kind: the type of its results. from_name: its name. to_name: the name of the image's tag. field: the field of a task's data
    that has the image's address. labels: the names of labels in results, by value and by alias; a label with an alias is named
    by the alias.
    """

    kind: Kind
    from_name: str
    to_name: str
    field: str
    labels: dict[str, str]


def read_control(configuration: str) -> Control:
    """The first `BrushLabels` or `PolygonLabels` of an `Image`. Raises `Unusable`."""
    try:
        root: Element = fromstring(configuration)
    except (ParseError, DefusedXmlException) as error:
        raise Unusable(f"the labelling configuration is no XML: {error}") from error
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    for tag in root.iter():
        to_name = tag.get("toName", "").split(",")[0].strip()
        if tag.tag in KINDS and to_name in images:
            labels = [(label.get("value"), label.get("alias")) for label in tag.iter("Label")]
            return Control(
                kind=KINDS[tag.tag],
                from_name=tag.get("name", ""),
                to_name=to_name,
                field=images[to_name].lstrip("$"),
                labels={name: alias or name for value, alias in labels for name in (value, alias) if name},
            )
    control_text = f"{' or '.join(KINDS)} whose toName is an Image"
    raise Unusable(f"the labelling configuration has no {control_text}; add one in Settings, Labeling Interface")


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
        rle = encode_brush(region.mask, left=region.left, top=region.top, size=(height, width))
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


def encode_brush(mask: npt.NDArray[np.bool_], *, left: int, top: int, size: tuple[int, int]) -> list[int]:
    """The bytes of a mask in the format of Label Studio's brush labels, as a list of integers.

    Source of the format: `label_studio_sdk/converter/brush.py` (`decode_rle`) of label-studio-sdk 2.1. The bits are: the number
    of values (32), the bits of a value less one (5), four sizes of lengths less one (4 each), then the runs. A run is: 1, the
    index of its size (2), its length less one (that size), its value.

    mask: bool (h, w), a part of the image. left, top: the position of this part, in pixels. size: (height, width) of the
    image.
    """
    height, width = size
    rows, columns = mask.shape
    lines = np.zeros((rows, width), bool)
    lines[:, left : left + columns] = mask
    flags = np.concatenate([[False], lines.ravel(), [False]])
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + top * width  # where runs inside begin, and where they end, alternately
    lengths = np.diff(np.concatenate([[0], edges, [height * width]])).tolist()
    bits = [f"{height * width * CHANNELS:032b}", f"{VALUE_BITS - 1:05b}", *(f"{bits - 1:04b}" for bits in SIZES)]
    bits += [_run(length * CHANNELS, (OUTSIDE, INSIDE)[turn % 2]) for turn, length in enumerate(lengths)]
    text = "".join(bits)
    data = np.packbits(np.frombuffer(text.encode("ascii"), np.uint8) - ord("0"))
    return [int(byte) for byte in data]


def _run(length: int, value: str) -> str:
    """The bits of a run, in several pieces where its length needs more bits than the largest size has."""
    largest = 1 << SIZES[-1]
    whole, rest = divmod(length, largest)
    pieces = [_piece(largest, value)] * whole + ([_piece(rest, value)] if rest else [])
    return "".join(pieces)


def _piece(length: int, value: str) -> str:
    index = next(index for index, bits in enumerate(SIZES) if length <= 1 << bits)
    return f"1{index:02b}{length - 1:0{SIZES[index]}b}{value}"
