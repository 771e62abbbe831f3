"""Builds requests to the service. The clients send them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import httpx

from fcn_client.images import ImageLike, upload_of
from fcn_client.parameters import FORMS, NAMES

TIMEOUT_S = 120.0
CONNECT_S = 10.0
RETRIES = 4


FilePart = tuple[str, tuple[str, bytes | BinaryIO]]


class Call(NamedTuple):
    """A request: its method, path, query, and the files to send: each its field, its name, and its bytes or an open file."""

    method: str
    path: str
    query: dict[str, str]
    files: list[FilePart] | None = None


def post(image: ImageLike, query: Mapping[str, Any], timeout: float = TIMEOUT_S) -> Call:
    """The request to segment an image. Query values of None are omitted. timeout: seconds to fetch the image's address."""
    upload = upload_of(image, timeout)
    return Call("POST", "segment", texts(query), [("file", (upload.name, upload.data))])


def get(path: str, model: str | None = None) -> Call:
    return Call("GET", path, {"model": model} if model else {})


def query(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The query of a client's method. Raises `TypeError` for an option that it does not have."""
    names = NAMES[method]
    if unknown := sorted(options.keys() - {*names}):
        nearest = difflib.get_close_matches(unknown[0], names, n=1)
        advice = f"did you mean {nearest[0]}? " if nearest else ""
        raise TypeError(f"no option {', '.join(unknown)}; {advice}there are {', '.join(names)}")
    return {**FORMS[method], **options}


def texts(query: Mapping[str, Any]) -> dict[str, str]:
    """The values as a query has them, lists with commas; those of None are omitted.

    Raises `ValueError` for an empty list: no classes would mean all classes.
    """
    return {name: _text(name, value) for name, value in query.items() if value is not None}


def _text(name: str, value: object) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        values = [_text(name, each) for each in value]
        if not values:
            raise ValueError(f"{name} must have at least one value, got an empty list; leave it out for the service's choice")
        return ",".join(values)
    return str(value).lower() if isinstance(value, bool) else str(value)


def limits(timeout: float, retries: int) -> None:
    """Raises `ValueError` if the timeout is not above 0 or the number of retries is negative."""
    if not (isinstance(timeout, int | float) and isinstance(retries, int | float) and timeout > 0 and retries >= 0):
        raise ValueError(f"timeout must be above 0 s and retries at least 0, got {timeout} and {retries}")


def timeouts(seconds: float) -> httpx.Timeout:
    """The timeouts of one attempt. The limit for connecting is short, so that there is time for a retry."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_S))
