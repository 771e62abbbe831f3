"""Finds the splits of a data set on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from model.labels import LabelSet, camvid_labels
from training.data import camvid
from training.data.class_mapping import ClassMapping, identity_mapping
from training.data.layouts import list_frames
from training.data.map_files import read_bands, read_blocks, read_gsd
from training.data.masks import Meaning, label_colors
from training.data.orientation import DrawnOn
from training.data.problems import DataError, FrameErrors, raise_all
from training.data.split import Split
from training.survey.records import frame_errors


def get_split(
    root: Path,
    split: str,
    labels: LabelSet,
    mapping: ClassMapping | None = None,
    meaning: Meaning = "ids",
    drawn_on: DrawnOn = "upright",
) -> Split:
    """The split (`train`, `val`, ...) of the data set in this folder, in any known layout.

    Raises `DataError` for an unknown layout and an empty split. If listed files are missing, raises `FrameErrors` with all
    missing files and all errors of the other frames.
    """
    result, missing = open_split(root, split, labels, mapping, meaning, drawn_on)
    if missing:
        raise FrameErrors([*missing, *frame_errors([result])])
    return result


def open_split(
    root: Path,
    split: str,
    labels: LabelSet,
    mapping: ClassMapping | None = None,
    meaning: Meaning = "ids",
    drawn_on: DrawnOn = "upright",
) -> tuple[Split, list[DataError]]:
    """The frames of a split whose two files are there, and the errors of the others.

    Raises `DataError` for an unknown layout and an empty split.
    """
    listing = list_frames(root, split)
    is_published = labels == camvid_labels() and (root / camvid.COLORS).is_file()
    colors = camvid.published_colors(root) if is_published else label_colors(labels)
    frames, notes = tuple(listing.frames), tuple(listing.notes)
    result = Split(
        name=split,
        frames=frames,
        mapping=mapping or identity_mapping(labels),
        source_labels=labels,
        colors=colors,
        meaning=meaning,
        drawn_on=drawn_on,
        notes=notes,
        bands=read_bands(root),
        gsd=read_gsd(root),
        blocks=read_blocks(root),
    )
    return result, listing.missing


def get_splits(*make: Callable[[], Split]) -> list[Split]:
    """Makes several splits of one data set.

    If files of one split are missing, raises `DataError` with the errors of all splits.
    """
    splits: list[Split] = []
    errors: list[DataError] = []
    for get in make:
        try:
            splits.append(get())
        except FrameErrors as error:
            errors += error.each
    if errors:
        raise_all([*errors, *frame_errors(splits)])
    return splits
