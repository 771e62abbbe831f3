"""Builds requests to the service. The clients send them."""

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
    """Options of segmentation, with the names of the HTTP API. The service chooses the value of a missing option or None.

    side: the size to work at: `auto`, `native`, or the longer side in pixels. blend: how overlapping tiles are averaged.
    overlap: fraction of a tile that it shares with its neighbour, 0 to 0.5. quality: `high` averages several sizes and mirror
    images. min_confidence: 0 to 1; pixels below it become void (255). model: a name from `models()`.
    """

    side: Literal["auto", "native"] | int | None
    blend: Literal["mean", "hann"] | None
    overlap: float | None
    quality: Literal["standard", "high"] | None
    min_confidence: float | None
    model: str | None


class Call(NamedTuple):
    """A request: its method, path, query, and the file to send (name, bytes)."""

    method: str
    path: str
    query: dict[str, str]
    files: dict[str, tuple[str, bytes]] | None = None


def post(image: ImageLike, **query: Any) -> Call:
    """The request to segment an image. Query values of None are omitted."""
    upload = upload_of(image)
    text_query = {name: _text(value) for name, value in query.items() if value is not None}
    return Call("POST", "segment", text_query, {"file": (upload.name, upload.data)})


def get(path: str, model: str | None = None) -> Call:
    return Call("GET", path, {"model": model} if model else {})


def as_json(options: Mapping[str, Any], confidence: bool) -> dict[str, Any]:
    """The query whose answer `answers.segmentation` reads."""
    return checked(options) | {"format": "json", "mask": "rle", "confidence": confidence or None}


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Copies the options. Raises `TypeError` for an unknown option, since the service would ignore it."""
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"no option {', '.join(sorted(unknown))}; there are {', '.join(Options.__annotations__)}")
    return dict(options)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def limits(timeout: float, retries: int) -> None:
    """Raises `ValueError` if the timeout is not above 0 or the number of retries is negative."""
    if not timeout > 0 or retries < 0:
        raise ValueError(f"timeout must be above 0 s and retries at least 0, got {timeout} and {retries}")


def timeouts(seconds: float) -> httpx.Timeout:
    """The timeouts of one attempt. The limit for connecting is short, so that there is time for a retry."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_S))
