"""Finds the splits of a data set on disk."""

from __future__ import annotations

from pathlib import Path

from model.labels import LabelSet, camvid_labels
from training.data import camvid
from training.data.class_mapping import ClassMapping, identity_mapping
from training.data.layouts import list_frames
from training.data.map_files import read_bands, read_blocks, read_gsd
from training.data.masks import DrawnOn, Meaning, label_colors
from training.data.split import Split


def get_split(
    root: Path,
    split: str,
    labels: LabelSet,
    mapping: ClassMapping | None = None,
    meaning: Meaning = "ids",
    drawn_on: DrawnOn = "upright",
) -> Split:
    """The split (`train`, `val`, ...) of the data set in this folder, in any known layout.

    Its frames are those whose two files are there; the errors of the others are in `missing`. Raises `DataError` for an unknown
    layout and an empty split.
    """
    listing = list_frames(root, split)
    is_published = labels == camvid_labels() and (root / camvid.COLORS).is_file()
    return Split(
        name=split,
        frames=tuple(listing.frames),
        mapping=mapping or identity_mapping(labels),
        source_labels=labels,
        colors=camvid.published_colors(root) if is_published else label_colors(labels),
        meaning=meaning,
        drawn_on=drawn_on,
        notes=tuple(listing.notes),
        missing=tuple(listing.missing),
        bands=read_bands(root),
        gsd=read_gsd(root),
        blocks=read_blocks(root),
    )
