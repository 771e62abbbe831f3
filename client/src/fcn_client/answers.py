"""Converts responses to typed values. Unknown fields in a response are ignored."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from fcn_client.errors import UnexpectedAnswer
from fcn_client.results import ClassShare, Label, Model, Polygon, Segmentation

DECODERS: dict[str, type[ImageFile]] = {"image/png": PngImageFile, "image/jpeg": JpegImageFile, "image/webp": WebPImageFile}
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, SyntaxError)
STAGE = re.compile(r"\s*([\w.-]+)\s*;\s*dur=(\d+(?:\.\d+)?)\s*", re.ASCII | re.IGNORECASE)  # of `Server-Timing`


def model_of(response: httpx.Response) -> tuple[str, str]:
    """The name and the sha256 of the model that gave a JSON answer. All functions of this module raise `UnexpectedAnswer`."""
    with _reading(response):
        model = response.json()["model"]
        return model["name"], model["sha256"]


def segmentation(response: httpx.Response, labels: Sequence[Label]) -> Segmentation:
    """Reads an answer with `format=json&mask=png`. `labels`: those of the model."""
    with _reading(response):
        document = response.json()
        size = document["image"]["height"], document["image"]["width"]
        confidence = document.get("confidence_map")
        return Segmentation(
            class_map=_pixels(document["class_map"], size),
            confidence=_pixels(confidence, size) if confidence else None,
            classes=tuple(_share(entry) for entry in document["classes"]),
            model=document["model"],
            tiling=document["tiling"],
            request_id=response.headers.get("X-Request-ID", ""),
            timing=timing(response),
            labels=tuple(labels),
            remark=response.headers.get("X-Remark", ""),
        )


def polygons(response: httpx.Response) -> dict[str, list[Polygon]]:
    """Reads an answer with `format=json&mask=polygons`: the polygons of each class that is present, by its name."""
    with _reading(response):
        document = response.json()
        outlines = document["class_map"]["polygons"]
        return {
            entry["name"]: [[_ring(points) for points in rings] for rings in outlines[str(entry["id"])]]
            for entry in document["classes"]
            if str(entry["id"]) in outlines
        }


def labels(response: httpx.Response) -> list[Label]:
    with _reading(response):
        return [_label(entry) for entry in response.json()]


def models(response: httpx.Response) -> list[Model]:
    with _reading(response):
        return [
            Model(**_field_values(Model, entry) | {"classes": tuple(map(_label, entry["classes"]))})
            for entry in response.json()
        ]


def document(response: httpx.Response) -> dict[str, Any]:
    with _reading(response):
        return dict(response.json())


def picture(response: httpx.Response) -> ImageFile:
    """Decodes a PNG, JPEG or WebP. Its `info` has what `object_facts` says, and `remark` as in `Segmentation`."""
    with _reading(response):
        image = _decode(response.content, response.headers.get("Content-Type", ""))
        image.info.update(object_facts(response) | {"remark": response.headers.get("X-Remark", "")})
        return image


def object_facts(response: httpx.Response) -> dict[str, tuple[int, ...] | int | None]:
    """What the service says of a picture's object, the pixels of its classes.

    Of a cut-out its `box` (left, top, width, height), None if there is none; of other pictures `object_pixels`, their number.
    Raises `ValueError` for headers that are not the service's.
    """
    box, pixels = (response.headers.get(name) for name in ("X-Object-Box", "X-Object-Pixels"))
    if box:
        return {"box": None if box == "none" else tuple(map(int, box.split(",")))}
    return {"object_pixels": int(pixels)} if pixels else {}


def timing(response: httpx.Response) -> dict[str, float]:
    """Milliseconds per stage, from `Server-Timing: decode;dur=1.2, ...`. Other entries are skipped."""
    entries = response.headers.get("Server-Timing", "").split(",")
    return {match[1]: float(match[2]) for match in map(STAGE.fullmatch, entries) if match}


def body(response: httpx.Response) -> bytes:
    """The response's bytes. Raises `UnexpectedAnswer` for an empty body or a web page, such as a login page."""
    if not response.content:
        raise _unexpected_answer(response, "answers an empty body")
    return not_a_page(response).content


def not_a_page(response: httpx.Response) -> httpx.Response:
    """The response itself. Raises `UnexpectedAnswer` for a web page, which cannot come from the service."""
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise _unexpected_answer(response, "answers a web page")
    return response


def _unexpected_answer(response: httpx.Response, reason: str) -> UnexpectedAnswer:
    detail = f"{response.url} {reason}; see that base_url is the service's"
    return UnexpectedAnswer(detail, status=response.status_code, request_id=response.headers.get("X-Request-ID", ""))


@contextmanager
def _reading(response: httpx.Response) -> Iterator[None]:
    """Turns errors of reading the response into `UnexpectedAnswer`."""
    try:
        yield
    except UNREADABLE as error:
        kind = response.headers.get("Content-Type", "no Content-Type")
        reason = f"answers {kind}, which cannot be read ({type(error).__name__}: {error})"
        raise _unexpected_answer(response, reason) from error


def _label(entry: Mapping[str, Any]) -> Label:
    return Label(**_field_values(Label, entry))


def _share(entry: Mapping[str, Any]) -> ClassShare:
    x, y, width, height = entry["bbox"]
    entry = {"display_color": entry["color"], **entry}  # services before display colours in answers lack it
    return ClassShare(**_field_values(ClassShare, entry) | {"bbox": (x, y, width, height)})


def _field_values(kind: type[ClassShare | Label | Model], entry: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: entry[field.name] for field in fields(kind)}


def _ring(points: object) -> npt.NDArray[np.float64]:
    ring = np.array(points, np.float64)
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise ValueError(f"a ring must be a list of points [x, y], got the shape {ring.shape}")
    return ring


def _pixels(entry: Mapping[str, str], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The values of an 8-bit PNG in a JSON answer, uint8 of this (height, width)."""
    with _decode(base64.b64decode(entry["data"])) as image:
        values = np.array(image)
    if values.shape != size or values.dtype != np.uint8:
        raise ValueError(f"a map of {values.shape} {values.dtype} came for an image of {size}")
    return values


def _decode(data: bytes, media_type: str = "image/png") -> ImageFile:
    """Decodes an image. Avoids `Image.open`, which warns above 89 megapixels, since the service accepts larger images."""
    image = DECODERS[media_type](io.BytesIO(data))
    image.load()
    return image
