"""What a user says of a network that another program has exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.arrays import Size
from model.architecture import Grid
from model.imported_network import Layout, OutputKind, Pad
from model.labels import LabelSet
from training.converting.pixels import Normalisation


@dataclass(frozen=True)
class ConversionRequest:
    """What the user says of a network; None for what the file itself shall tell.

    layout: of the input. bgr: a network of uint8 pixels takes blue first. tile: (height, width), or `WHOLE`. pad: what
    extends whole photos. memory_mb: what one may take. side: the (lowest, highest) longer side of images, in pixels. photos: a
    folder to compare on.
    """

    source: Path
    target: Path
    labels: LabelSet | None = None
    normalisation: Normalisation | None = None
    layout: Layout | None = None
    bgr: bool = False
    output: str | None = None
    kind: OutputKind | None = None
    grid: Grid | None = None
    before_resize: bool = False
    tile: Size | None = None
    pad: Pad | None = None
    memory_mb: int = 8192
    side: tuple[int, int] | None = None
    license: str = "unknown"
    notes: Sequence[str] = ()
    photos: Path | None = None
