"""The frames of a data set's split."""

from __future__ import annotations

from pathlib import Path

from training.data.layouts import Frame, list_frames
from training.data.problems import raise_all


def find_frames(root: Path, split: str) -> list[Frame]:
    """The frames of a split, in any known layout; raises `DataError` naming every missing file."""
    listing = list_frames(root, split)
    raise_all(listing.missing)
    return listing.frames
