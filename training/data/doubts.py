"""Labels and images that can be read and may be wrong: copies, masks without labels, specks and rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.data.borders import swapped
from training.data.likeness import look_alike
from training.data.problems import first_names
from training.data.survey import Survey

SPECK = 2e-5  # share of a mask's pixels: 4 of 512x384, 15x15 of a photo of 12 megapixels
FEW_FRAMES, LEAST_FRAMES = 3, 10  # a class in fewer than 3 frames is rare, in a split of at least 10


def doubtful_labels(survey: Survey) -> list[str]:
    """Remarks on a split's frames, a line for each kind, with their number and the first names; reads no file."""
    split = survey.split
    name, notes = split.name, []
    if copies := _copied_images(survey):
        notes.append(f"{len(copies)} images of {name!r} are copies of another, byte for byte: {first_names(copies)}")
    if same := _copied_masks(survey):
        notes.append(
            f"{len(same)} masks of {name!r} are the same file as another image's: {first_names(same)}; one image has the "
            "other's labels, unless both show the same"
        )
    counts = survey.class_pixels
    if empty := [frame.mask for frame, row in zip(split.frames, counts, strict=True) if not row.any()]:
        notes.append(f"{len(empty)} masks of {name!r} hold no class, only void: {first_names(empty)}")
    if specks := _specks(survey):
        notes.append(f"{len(specks)} masks of {name!r} show a class by a speck alone, as by a slip: {first_names(specks)}")
    frames_of_class = (counts > 0).sum(0).tolist()
    rare = [
        f"{label} ({frames})"
        for label, frames in zip(split.labels.names, frames_of_class, strict=True)
        if 0 < frames < FEW_FRAMES and len(counts) >= LEAST_FRAMES
    ]
    if rare:
        notes.append(
            f"{len(rare)} of {len(split.labels)} classes are shown by fewer than {FEW_FRAMES} of the {len(counts)} frames of "
            f"{name!r}: {first_names(rare, 10)}"
        )
    return notes


def similar_frames(train: Survey, validation: Survey) -> list[tuple[int, int]]:
    """The indices of frames of train and validation whose images look alike, without those of equal files.

    Both surveys must have read pixels.
    """
    hashes = ([str(record.image_hash) for record in survey.records] for survey in (train, validation))
    return [
        (first, second)
        for first, second in look_alike(*hashes)
        if train.records[first].image_sha256 != validation.records[second].image_sha256
    ]


def similar_note(train: Survey, validation: Survey, pairs: list[tuple[int, int]]) -> str:
    """A remark on the pairs of `similar_frames`, of which there is at least one."""
    in_train: dict[int, int] = {second: first for first, second in reversed(pairs)}
    examples = [
        f"{validation.split.frames[second].image} like {train.split.frames[first].image}"
        for second, first in sorted(in_train.items())
    ]
    return (
        f"{len(in_train)} of {len(validation.records)} images of {validation.split.name!r} look like images of "
        f"{train.split.name!r}, as recompressed copies and neighbouring frames do: {first_names(examples)}; move them into one "
        "split, else the score is too good to be true"
    )


def swapped_masks(surveys: Sequence[Survey]) -> list[str]:
    """A remark on the masks of all these splits that seem to be swapped, if there are any; reads no file.

    The surveys must have read pixels.
    """
    frames = [frame for survey in surveys for frame in survey.split.frames]
    records = [record for survey in surveys for record in survey.records]
    pairs = swapped([str(record.edge_cells) for record in records], [str(record.border_cells) for record in records])
    if not pairs:
        return []
    names = first_names(f"{frames[first].mask} and {frames[other].mask}" for first, other in pairs)
    return [f"{len(pairs)} pairs of masks fit each other's image better than their own, as if they were swapped: {names}"]


def _copied_images(survey: Survey) -> list[str]:
    """Pairs of image files of a split with the same bytes, as `b.jpg like a.jpg`."""
    firsts: dict[str, Path] = {}
    pairs = []
    for frame, record in zip(survey.split.frames, survey.records, strict=True):
        first = firsts.setdefault(record.image_sha256, frame.image)
        if first != frame.image:
            pairs.append(f"{frame.image} like {first}")
    return list(dict.fromkeys(pairs))  # once each: a frame may be listed twice


def _copied_masks(survey: Survey) -> list[str]:
    """Pairs of mask files of a split with the same bytes, for different images, as `b.png like a.png`.

    Masks of a single class are left out, since many images may share them.
    """
    firsts: dict[str, tuple[Path, str]] = {}
    pairs = []
    for frame, record in zip(survey.split.frames, survey.records, strict=True):
        first, image = firsts.setdefault(record.mask_sha256, (frame.mask, record.image_sha256))
        if first != frame.mask and image != record.image_sha256 and len(record.pixels) > 1:
            pairs.append(f"{frame.mask} like {first}")
    return list(dict.fromkeys(pairs))


def _specks(survey: Survey) -> list[str]:
    labels = survey.split.labels
    specks = []
    for frame, record, row in zip(survey.split.frames, survey.records, survey.class_pixels, strict=True):
        most = SPECK * record.size[0] * record.size[1]
        specks += [
            f"{frame.mask} ({labels.names[index]}, {pixels} pixels)" for index, pixels in enumerate(row) if 0 < pixels < most
        ]
    return specks
