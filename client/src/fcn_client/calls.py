"""Requests to the service, built without sending them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypedDict

from fcn_client.images import ImageLike, upload_of

TIMEOUT_S = 120.0
RETRIES = 4


class Options(TypedDict, total=False):
    """How an image is worked on, as over HTTP; what is left out is the service's choice."""

    side: Literal["auto", "native"] | int
    blend: Literal["mean", "hann"]
    overlap: float
    min_confidence: float
    model: str


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


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def headers(api_key: str | None) -> dict[str, str]:
    return {"X-API-Key": api_key} if api_key else {}


def base(url: str) -> str:
    """With a slash at its end, so that paths are added below it."""
    return url.rstrip("/") + "/"
