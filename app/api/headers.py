"""What the request's headers ask for: the format, compression, and an answer other than the one at hand (RFC 9110)."""

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

FORMATS: dict[str, Literal["png", "json"]] = {"image/png": "png", "application/json": "json"}
PICTURES: dict[str, ImageFormat] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


def entity_tag(image_sha256: str, options: Options, runtime: Runtime) -> str:
    """Equal for requests whose answers are equal, on processors of one kind.

    It is over the image, the parameters, the weights' name, the file that was loaded, what runs it, and this version.
    """
    facts = (image_sha256, options, runtime.identity, runtime.file_sha256, package_version())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def check_precondition(headers: Headers, tag: str) -> None:
    """Raises `PreconditionFailed` where `If-None-Match` names this answer: the client has it already."""
    tags = [part.strip().removeprefix("W/").strip('"') for part in joined(headers, "if-none-match").split(",")]
    if tag in tags:
        raise PreconditionFailed(f'the answer is still the one with the tag "{tag}"', {"ETag": weak(tag)})


def weak(tag: str) -> str:
    """The tag as a weak one: processors of different generations may differ in a bit."""
    return f'W/"{tag}"'


def joined(headers: Headers, name: str) -> str:
    """A header that may come several times, as one list (RFC 9110, section 5.3)."""
    return ",".join(headers.getlist(name))


def takes_gzip(accepted: str) -> bool:
    """Whether an answer may be sent compressed: whether gzip has a weight above 0: its own, or else that of `*`."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, quality = part.partition(";")
        weights[name.strip()] = quality.strip() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))


def format_from_accept(accept: str) -> Literal["png", "json"]:
    """`png` or `json` (section 12.5.1): of the greater weight, then the one that is named and not only covered, then `png`.

    Raises `NotAcceptable`.
    """
    media_type = _best(accept, FORMATS)
    if media_type is None:
        raise NotAcceptable(f"Accept: {accept} fits neither {' nor '.join(FORMATS)}; give one of those, or ?format=")
    return FORMATS[media_type]


def picture_format_from_accept(accept: str) -> ImageFormat:
    """Likewise for `color` and `overlay`; `png` where the header fits no picture, since `format` beats it."""
    return PICTURES.get(_best(accept, PICTURES) or "", "png")


def _best(accept: str, offers: Mapping[str, str]) -> str | None:
    """The first of the best of these media types, None where none fits."""
    weights = {media_type: _quality(accept, media_type) for media_type in offers}
    best = max(weights, key=lambda media_type: weights[media_type])
    return best if weights[best][0] > 0 else None


def _quality(accept: str, media_type: str) -> tuple[float, int]:
    """Weight and specificity (0 to 2) of the most specific range that matches; zeros where none does."""
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
