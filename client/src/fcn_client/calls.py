"""Requests to the service, built without sending them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypedDict

import httpx

from fcn_client.images import ImageLike, upload_of

TIMEOUT_S = 120.0
CONNECT_S = 10.0
RETRIES = 4


PictureFormat = Literal["png", "jpeg", "webp"]


class Options(TypedDict, total=False):
    """How an image is worked on, as over HTTP; what is left out or None is the service's choice.

    side: size to work at, `auto`, `native`, or the longer side in pixels. blend: how overlapping tiles are averaged. overlap:
    fraction of a tile shared with its neighbour, 0 to 0.5. quality: `high` averages several sizes and mirror images.
    min_confidence: 0 to 1; pixels below it become 255, void. model: a name of `models()`.
    """

    side: Literal["auto", "native"] | int | None
    blend: Literal["mean", "hann"] | None
    overlap: float | None
    quality: Literal["standard", "high"] | None
    min_confidence: float | None
    model: str | None


class Call(NamedTuple):
    """A request: its method and path, query, and the image."""

    method: str
    path: str
    query: dict[str, str]
    files: dict[str, tuple[str, bytes]] | None = None


def post(image: ImageLike, **query: Any) -> Call:
    """To segment an image; what is None is left out."""
    upload = upload_of(image)
    given = {name: _text(value) for name, value in query.items() if value is not None}
    return Call("POST", "segment", given, {"file": (upload.name, upload.data)})


def get(path: str, model: str | None = None) -> Call:
    return Call("GET", path, {"model": model} if model else {})


def as_json(options: Mapping[str, Any], confidence: bool) -> dict[str, Any]:
    """The query of a `Segmentation`."""
    return checked(options) | {"format": "json", "mask": "rle", "confidence": confidence or None}


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Raises `TypeError` for an option that there is not: the service passes over what it does not know."""
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"no option {', '.join(sorted(unknown))}; there are {', '.join(Options.__annotations__)}")
    return dict(options)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def limits(timeout: float, retries: int) -> None:
    """Raises `ValueError` for limits under which nothing could be asked."""
    if not timeout > 0 or retries < 0:
        raise ValueError(f"timeout must be above 0 s and retries at least 0, got {timeout} and {retries}")


def timeouts(seconds: float) -> httpx.Timeout:
    """For one attempt: an address where nobody listens is given up early, so that it can be tried again."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_S))
