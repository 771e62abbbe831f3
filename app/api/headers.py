"""Request headers that select the answer (RFC 9110): its format, its compression, and whether the client has it already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

from starlette.datastructures import Headers

from app.api.errors import NotAcceptable, PreconditionFailed
from imaging.encoding import ImageFormat
from model.command_line import package_version
from model.inference.plan import Options
from model.inference.runtime import Runtime

ACCEPTED_FORMATS: dict[str, Literal["png", "json"]] = {"image/png": "png", "application/json": "json"}
REMARK = "X-Remark"
"""Of an answer for a scene: what was decided about a band that the file wrongly calls alpha."""
PICTURES: dict[str, ImageFormat] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


def entity_tag(image_sha256: str, options: Options, runtime: Runtime) -> str:
    """A tag that is equal for requests with equal answers, on processors of one kind.

    It is a hash of the image, the options, the model's identity (name, weights, runtime, precision), the loaded file and this
    package's version.
    """
    facts = (image_sha256, options, runtime.identity, runtime.file_sha256, package_version())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def check_precondition(headers: Headers, tag: str) -> None:
    """Raises `PreconditionFailed` if `If-None-Match` names this tag: the client has the answer already."""
    tags = [part.strip().removeprefix("W/").strip('"') for part in join_values(headers, "if-none-match").split(",")]
    if tag in tags:
        raise PreconditionFailed(f'the answer is still the one with the tag "{tag}"', {"ETag": weak(tag)})


def weak(tag: str) -> str:
    """The tag as a weak entity tag, because processors of different generations may give answers that differ in a bit."""
    return f'W/"{tag}"'


def join_values(headers: Headers, name: str) -> str:
    """All values of a header that may be repeated, as one comma-separated list (RFC 9110, section 5.3)."""
    return ",".join(headers.getlist(name))


def takes_gzip(accept_encoding: str) -> bool:
    """Whether `Accept-Encoding` allows gzip: its weight, or else the weight of `*`, is above 0."""
    weights = dict(_weights(accept_encoding))
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def format_from_accept(accept: str) -> Literal["png", "json"]:
    """Chooses `png` or `json` by `Accept` (RFC 9110, section 12.5.1). Raises `NotAcceptable` if it allows neither.

    The greater weight wins; then the type that a more specific range matches; then `png`.
    """
    media_type = _best(accept, ACCEPTED_FORMATS)
    if media_type is None:
        raise NotAcceptable(f"Accept: {accept} fits neither {' nor '.join(ACCEPTED_FORMATS)}; give one of those, or ?format=")
    return ACCEPTED_FORMATS[media_type]


def picture_format_from_accept(accept: str) -> ImageFormat:
    """Chooses the image format of `color` and `overlay` by `Accept`.

    If the header allows none, the answer is `png`, because the query's `format` takes precedence over the header.
    """
    return PICTURES.get(_best(accept, PICTURES) or "", "png")


def _best(accept: str, offers: Mapping[str, str]) -> str | None:
    """The media type of `offers` that the header prefers, the first of equal ones; None if it allows none."""
    weights = {media_type: _quality(accept, media_type) for media_type in offers}
    best = max(weights, key=lambda media_type: weights[media_type])
    return best if weights[best][0] > 0 else None


def _quality(accept: str, media_type: str) -> tuple[float, int]:
    """Weight and specificity (0 to 2) of the most specific range that matches the type; zeros if none does."""
    ranges = ["*/*", f"{media_type.split('/')[0]}/*", media_type]
    matches = [(ranges.index(name), weight) for name, weight in _weights(accept if accept.strip() else "*/*") if name in ranges]
    specificity, weight = max(matches, default=(0, 0.0))
    return weight, specificity


def _weights(header: str) -> Iterator[tuple[str, float]]:
    """The entries of a header in lower case, each with its weight `q` (RFC 9110, section 12.4.2); 0 if that is invalid."""
    for entry in header.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        try:
            value = float(weight)
        except ValueError:
            value = 0.0
        yield name, value if 0 <= value <= 1 else 0.0
