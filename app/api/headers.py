"""Request headers that select the answer (RFC 9110): its format, its compression, and whether the client has it already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

from starlette.datastructures import Headers

from app.api.errors import NotAcceptable, PreconditionFailed
from imaging.encoding import ImageFormat
from model.command_line import package_version
from model.inference.runtime import Runtime
from model.inference.segmenter import Options

ACCEPTED_FORMATS: dict[str, Literal["png", "json"]] = {"image/png": "png", "application/json": "json"}
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
    tags = [part.strip().removeprefix("W/").strip('"') for part in joined(headers, "if-none-match").split(",")]
    if tag in tags:
        raise PreconditionFailed(f'the answer is still the one with the tag "{tag}"', {"ETag": weak(tag)})


def weak(tag: str) -> str:
    """The tag as a weak entity tag, because processors of different generations may give answers that differ in a bit."""
    return f'W/"{tag}"'


def joined(headers: Headers, name: str) -> str:
    """All values of a header that may be repeated, as one comma-separated list (RFC 9110, section 5.3)."""
    return ",".join(headers.getlist(name))


def takes_gzip(accepted: str) -> bool:
    """Whether `Accept-Encoding` allows gzip: its weight, or else the weight of `*`, is above 0."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, quality = part.partition(";")
        weights[name.strip()] = quality.strip() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))


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
    matches: list[tuple[int, float]] = []
    for item in accept.split(",") if accept.strip() else ["*/*"]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        group = media_type.split("/")[0]
        if name in (media_type, f"{group}/*", "*/*"):
            specificity = 2 - [media_type, f"{group}/*", "*/*"].index(name)
            matches.append((specificity, _weight(parameters)))
    specificity, weight = max(matches, default=(0, 0.0))
    return weight, specificity


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                weight = float(parameter[2:])
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0
