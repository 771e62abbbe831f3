"""An auto-annotation function for CVAT, by the contract of `cvat_sdk.auto_annotation`. Needs the extra `cvat`.

    cvat-cli task auto-annotate 7 --function-module fcn_client.cvat -p url=str:http://127.0.0.1:8000 --allow-unmatched-labels

Source of the contract: `cvat_sdk/auto_annotation/interface.py` of cvat-sdk 2.80, `DetectionFunction`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.masks import encode_mask
from PIL import Image

from fcn_client.errors import BadRequest, ServerBusy
from fcn_client.matching import check_aliases, is_background, parse_aliases
from fcn_client.parameters import Options, Quality, Side
from fcn_client.regions import Region, outlines, regions
from fcn_client.sync import SegmentClient


def create(
    url: str = "http://127.0.0.1:8000",
    *,
    api_key: str | None = None,
    model: str | None = None,
    polygons: bool = False,
    tolerance: float | None = None,
    aliases: str = "",
    min_area: str | None = None,
    fill_holes: str | None = None,
    side: Side | None = None,
    quality: Quality | None = None,
) -> Detector:
    """Makes the function; CVAT's command line gives each argument by `-p NAME=TYPE:VALUE`. Asks the service for its classes.

    url, api_key, model: the service, its key and one of its models. polygons: shapes are polygons instead of masks; tolerance:
    how far their points may move, in pixels. aliases: `CLASS=LABEL` with commas, the names of classes in CVAT. min_area,
    fill_holes, side, quality: as over HTTP.
    Raises `ValueError` for wrong aliases and `SegmentError` if the service does not answer or refuses the options.
    """
    options = Options(model=model, min_area=min_area, fill_holes=fill_holes, side=side, quality=quality)
    return Detector(partial(SegmentClient, url, api_key=api_key), options, polygons, tolerance, parse_aliases(aliases))


class Detector:
    """The function: `spec` names the labels, `detect` gives the shapes of an image. Each has a score, its mean confidence."""

    def __init__(
        self,
        connect: Callable[[], SegmentClient],
        options: Options,
        polygons: bool,
        tolerance: float | None,
        aliases: dict[str, str],
    ) -> None:
        self._connect, self._options, self._polygons, self._tolerance = connect, options, polygons, tolerance
        with connect() as client:
            labels = client.classes(options.get("model"))
            with suppress(BadRequest, ServerBusy):  # an empty image is refused after wrong options
                client.coco(b"", mask="polygons", tolerance=tolerance, **options)
        check_aliases(aliases, labels)
        names = {name.casefold(): label for name, label in aliases.items()}
        self._names = {
            label.id: names.get(label.name.casefold(), label.name)
            for label in labels
            if label.name.casefold() in names or not is_background(label)
        }
        self._numbers = {name: number for number, name in enumerate(dict.fromkeys(self._names.values()), 1)}

    @property
    def spec(self) -> cvataa.DetectionFunctionSpec:
        """The labels: all classes but the background, by their names or aliases."""
        kind = "polygon" if self._polygons else "mask"
        return cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(name, number, type=kind) for name, number in self._numbers.items()]
        )

    def detect(self, context: cvataa.DetectionFunctionContext, image: Image.Image) -> list[models.LabeledShapeRequest]:
        """A shape for each connected region of a class. In a polygon, a line without width leads to each hole and back.

        `context.conf_threshold`: least mean confidence of a shape. Raises `SegmentError`.
        """
        least = context.conf_threshold or 0
        polygons = self._polygons or context.conv_mask_to_poly
        with self._connect() as client:
            result = client.segment(image, confidence=True, **self._options)
            document = {}
            if polygons:
                document = client.coco(image, mask="polygons", tolerance=self._tolerance, **self._options)
        if polygons:
            return [
                cvataa.polygon(self._number(outline.id), outline.points.ravel().tolist(), score=outline.score)
                for outline in outlines(result, document)
                if outline.id in self._names and outline.score >= least
            ]
        return [
            cvataa.mask(self._number(region.id), _points(region), score=region.score)
            for region in regions(result, self._names)
            if region.score >= least
        ]

    def _number(self, id: int) -> int:
        return self._numbers[self._names[id]]


def _points(region: Region) -> list[float]:
    """The mask as CVAT has it: run lengths in the box, then the box's first and last column and row."""
    *runs, left, top, right, bottom = encode_mask(region.mask)
    return [*runs, left + region.left, top + region.top, right + region.left, bottom + region.top]
