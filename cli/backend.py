"""The protocol of `Local` and `Remote`, which segment an image here or on a service, and their result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from model.inference.tiling import Size


@dataclass(frozen=True)
class Result:
    """An answer's bytes, and facts for the table of results.

    size: (height, width) of the upright image. shares: of the pixels of each class that is there, 0 to 1, before
    `min_confidence`. mean_confidence: of all pixels. A service does not say these; then they are None or empty. facts: of its
    object, as of `imaging.object_facts`.
    """

    body: bytes
    size: Size | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    mean_confidence: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """Turns image files' bytes into answers. `workers` threads call it at once."""

    @property
    def workers(self) -> int: ...

    def settings_digest(self) -> str | None:
        """A digest of options and model, for the journal of answers; None if the model is not known. Raises `OSError`."""
        ...

    def __call__(self, data: bytes, name: str) -> Result: ...

    def close(self) -> None: ...
