"""How an answer is sent: its entity tag, and compressed where the client takes that (RFC 9110, sections 8.4 and 8.8.3)."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers

from app.api.errors import PreconditionFailed
from model.command_line import package_version
from model.inference.runtime import Runtime
from model.inference.segmenter import Options


def entity_tag(image_sha256: str, options: Options, runtime: Runtime) -> str:
    """Equal for requests whose answers are equal, on processors of one kind.

    It is over the image, the parameters, the weights' name, the file that was loaded, what runs it, and this version.
    """
    facts = (image_sha256, options, runtime.identity, runtime.file_sha256, package_version())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def check_precondition(headers: Headers, tag: str) -> None:
    """Raises `PreconditionFailed` where `If-None-Match` names this answer: the client has it already."""
    given = [part.strip().removeprefix("W/").strip('"') for part in joined(headers, "if-none-match").split(",")]
    if tag in given:
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
