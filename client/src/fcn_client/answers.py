"""Converts responses to typed values. Unknown fields in a response are ignored.

Class maps come in COCO's compressed run-length encoding. It stores the run lengths of a mask column by column, each as the
difference to the length two before it.
"""

from __future__ import annotations

import base64
import io
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

from fcn_client import headers
from fcn_client.errors import UnexpectedAnswer
from fcn_client.results import ClassShare, Label, Model, Polygon, Segmentation

DECODERS: dict[str, type[ImageFile]] = {"image/png": PngImageFile, "image/jpeg": JpegImageFile, "image/webp": WebPImageFile}
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, SyntaxError)
BITS, MORE, SIGN, FIRST = 5, 0x20, 0x10, 48  # of a character of run lengths
LONGEST = 8  # characters of one run length
VOID = 255
Integers = npt.NDArray[np.int64]


def model_of(response: httpx.Response) -> tuple[str, str]:
    """The name and the sha256 of the model that gave a JSON answer. All functions of this module raise `UnexpectedAnswer`."""
    with _reading(response):
        model = response.json()["model"]
        return model["name"], model["sha256"]


def segmentation(response: httpx.Response, labels: Sequence[Label]) -> Segmentation:
    """Reads an answer with `format=json&mask=rle`. `labels`: those of the model."""
    with _reading(response):
        document = response.json()
        height, width = document["class_map"]["size"]
        confidence = document.get("confidence_map")
        return Segmentation(
            class_map=class_map_of_counts(document["class_map"]["counts"], (height, width)),
            confidence=_grey(confidence["data"], (height, width)) if confidence else None,
            classes=tuple(_share(entry) for entry in document["classes"]),
            model=document["model"],
            tiling=document["tiling"],
            request_id=response.headers.get("X-Request-ID", ""),
            timing=headers.timing(response),
            labels=tuple(labels),
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
    """Decodes a PNG, JPEG or WebP. Its `info` has what `headers.object_facts` says."""
    with _reading(response):
        image = _decode(response.content, response.headers.get("Content-Type", ""))
        image.info.update(headers.object_facts(response))
        return image


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


def _grey(data: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    with _decode(base64.b64decode(data)) as image:
        values = np.array(image)
    if values.shape != size or values.dtype != np.uint8:
        raise ValueError(f"a confidence map of {values.shape} {values.dtype} came for an image of {size}")
    return values


def _decode(data: bytes, media_type: str = "image/png") -> ImageFile:
    """Decodes an image. Avoids `Image.open`, which warns above 89 megapixels, since the service accepts larger images."""
    image = DECODERS[media_type](io.BytesIO(data))
    image.load()
    return image


def runs(text: str) -> Integers:
    """The run lengths in a string of COCO's `counts`, alternately outside and inside the mask. Raises `ValueError`."""
    chunks = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - FIRST
    last = np.flatnonzero((chunks & MORE) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    sizes = last - first + 1
    if not last.size or last[-1] != chunks.size - 1 or sizes.max() > LONGEST or chunks.min() < 0 or chunks.max() >= 2 * MORE:
        raise ValueError(f"not a run-length encoding: {text[:40]!r}")
    shifts = BITS * (np.arange(chunks.size) - np.repeat(first, sizes))
    lengths: Integers = np.add.reduceat((chunks & (MORE - 1)) << shifts, first)
    lengths -= np.where(chunks[last] & SIGN, 1 << BITS * sizes, 0)
    for parity in (1, 2):
        lengths[parity::2] = np.cumsum(lengths[parity::2])
    return lengths


def class_map_of_counts(counts: Mapping[str, str], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The class map, uint8 (H, W), given one string for each class id. Pixels of no class are 255.

    Raises `ValueError` for runs that overlap or do not add up to the image.
    """
    height, width = size
    inside = [_inside(id, runs(text), height * width) for id, text in counts.items()]
    spans = np.concatenate([np.empty((0, 3), np.int64), *inside])
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    if (spans[1:, 0] < spans[:-1, 1]).any():
        raise ValueError("the runs of two classes overlap")
    edges = np.concatenate([[0], spans[:, :2].ravel(), [height * width]])
    values = np.full(edges.size - 1, VOID, np.uint8)
    values[1::2] = spans[:, 2]
    return np.ascontiguousarray(np.repeat(values, np.diff(edges)).reshape(width, height).T)


def _inside(id: str, lengths: Integers, pixels: int) -> Integers:
    """The runs inside the class, as rows of start, end and class id. `lengths`: alternately outside and inside."""
    if lengths.min() < 0 or lengths.sum() != pixels:
        raise ValueError(f"runs of class {id} cover {lengths.sum()} pixels, the image has {pixels}")
    if not 0 <= int(id) <= VOID:
        raise ValueError(f"a class id is 0 to {VOID}, got {id}")
    ends = np.cumsum(lengths)[1::2]
    return np.column_stack([ends - lengths[1::2], ends, np.full(ends.size, int(id))])
