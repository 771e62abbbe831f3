"""Builds requests to the service. The clients send them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

import httpx

from fcn_client.images import ImageLike, upload_of

TIMEOUT_S = 120.0
CONNECT_S = 10.0
RETRIES = 4

PictureFormat = Literal["png", "jpeg", "webp"]
Palette = Literal["display", "labels"]
Classes = str | int | Iterable[str | int]
"""Names or ids of classes: one, several with commas, or a list."""


class Options(TypedDict, total=False):
    """Options of segmentation, with the names of the HTTP API. The service chooses the value of a missing option or None.

    side: the size to work at: `auto`, `native`, or the longer side in pixels. blend: how overlapping tiles are averaged.
    overlap: fraction of a tile that it shares with its neighbour, 0 to 0.5. quality: `high` averages several sizes and mirror
    images. min_confidence: 0 to 1; pixels below it become void (255). model: a name from `models()`. min_area, fill_holes:
    regions, and holes in regions, that are smaller become part of what is around them; in pixels, or as a share of the image
    such as `0.1%`.
    """

    side: Literal["auto", "native"] | int | None
    blend: Literal["mean", "hann"] | None
    overlap: float | None
    quality: Literal["standard", "high"] | None
    min_confidence: float | None
    model: str | None
    min_area: int | str | None
    fill_holes: int | str | None


class Call(NamedTuple):
    """A request: its method, path, query, and the file to send (name, bytes)."""

    method: str
    path: str
    query: dict[str, str]
    files: dict[str, tuple[str, bytes]] | None = None


def post(image: ImageLike, query: Mapping[str, Any], timeout: float = TIMEOUT_S) -> Call:
    """The request to segment an image. Query values of None are omitted. timeout: seconds to fetch the image's address."""
    upload = upload_of(image, timeout)
    text_query = {name: _text(value) for name, value in query.items() if value is not None}
    return Call("POST", "segment", text_query, {"file": (upload.name, upload.data)})


def get(path: str, model: str | None = None) -> Call:
    return Call("GET", path, {"model": model} if model else {})


def as_json(options: Mapping[str, Any], confidence: bool) -> dict[str, Any]:
    """The query whose answer `answers.segmentation` reads."""
    return _query(options, {"format": "json", "mask": "rle"}, confidence=confidence or None)


def as_overlay(
    options: Mapping[str, Any],
    *,
    alpha: float,
    image_format: PictureFormat,
    classes: Classes | None,
    palette: Palette | None,
    names: bool | None,
) -> dict[str, Any]:
    """The query whose answer is an overlay."""
    own = {"alpha": alpha, "image_format": image_format, "classes": class_list(classes), "palette": palette, "names": names}
    return _query(options, {"format": "overlay"}, **own)


def as_cutout(options: Mapping[str, Any], classes: Classes | None) -> dict[str, Any]:
    """The query whose answer is a cut-out."""
    return _query(options, {"format": "cutout"}, classes=class_list(classes))


def as_polygons(
    options: Mapping[str, Any], *, classes: Classes | None, tolerance: float | None, topology: Literal["shared"] | None
) -> dict[str, Any]:
    """The query whose answer `answers.polygons` reads."""
    method_parameters = {"format": "json", "mask": "polygons"}
    return _query(options, method_parameters, classes=class_list(classes), tolerance=tolerance, topology=topology)


def as_coco(
    options: Mapping[str, Any],
    *,
    mask: Literal["rle", "polygons"],
    classes: Classes | None,
    tolerance: float | None,
    topology: Literal["shared"] | None,
) -> dict[str, Any]:
    """The query whose answer is a COCO document."""
    own = {"mask": mask, "classes": class_list(classes), "tolerance": tolerance, "topology": topology}
    return _query(options, {"format": "coco"}, **own)


def class_list(classes: Classes | None) -> str | None:
    """The classes as the query has them, with commas. Raises `ValueError` for an empty list, which would mean all classes."""
    if classes is None or isinstance(classes, str):
        return classes
    text = str(classes) if isinstance(classes, int) else ",".join(map(str, classes))
    if not text:
        raise ValueError("classes must name at least one class, got an empty list; leave it out for all classes")
    return text


def check_options(options: Mapping[str, Any], own: Iterable[str] = ()) -> dict[str, Any]:
    """Copies the options. own: names of the method's other options. Raises `TypeError` for an unknown option."""
    names = [*own, *Options.__annotations__]
    if unknown := sorted(options.keys() - Options.__annotations__.keys()):
        nearest = difflib.get_close_matches(unknown[0], names, n=1)
        advice = f"did you mean {nearest[0]}? " if nearest else ""
        raise TypeError(f"no option {', '.join(unknown)}; {advice}there are {', '.join(names)}")
    return dict(options)


def _query(options: Mapping[str, Any], method_parameters: Mapping[str, str], **own: Any) -> dict[str, Any]:
    """The query of a method. method_parameters: those that its caller cannot choose. own: its options besides `Options`."""
    return check_options(options, own) | dict(method_parameters) | own


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def limits(timeout: float, retries: int) -> None:
    """Raises `ValueError` if the timeout is not above 0 or the number of retries is negative."""
    if not timeout > 0 or retries < 0:
        raise ValueError(f"timeout must be above 0 s and retries at least 0, got {timeout} and {retries}")


def timeouts(seconds: float) -> httpx.Timeout:
    """The timeouts of one attempt. The limit for connecting is short, so that there is time for a retry."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_S))
