"""Images and masks that are copies of others, look like them, or were swapped, in a split and between splits; reads no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from training.data.problems import DataError, remark
from training.survey.photos import look_alike
from training.survey.placement import swapped
from training.survey.records import Survey, firsts

MOST_ALIKE = 0.1  # where more of a split's images look like another, they are of a video, and nothing is said
MOST_SHARED = 3  # frames of two splits that an error names
OTHER_LABELS = 0.02  # share of the pixels by which the labels of two images that look alike differ


def copied_images(survey: Survey) -> list[str]:
    """Remarks on images of a split that are copies of another one of it, or look like it."""
    images = f"images of {survey.split.name!r}"
    return [
        *remark(_equal_files(survey), f"{images} are copies of another, byte for byte"),
        *remark(_alike(survey), f"{images} look like another, as scaled, cropped, mirrored or recompressed copies do"),
    ]


def similar_frames(train: Survey, validation: Survey) -> dict[tuple[int, int], int]:
    """The indices of frames of two splits whose images look alike, without those of equal files, and those of one colour.

    The values are as those of `look_alike`.
    """
    tiles, other_tiles = train.tiles, validation.tiles  # their import keeps ground apart
    hashes = ([record.image_hash for record in survey.records] for survey in (train, validation))
    return {
        (first, second): bits
        for (first, second), bits in look_alike(*hashes).items()
        if train.records[first].image_sha256 != validation.records[second].image_sha256
        and train.records[first].appearance != "one colour"
        and not (first in tiles and second in other_tiles)
    }


def _nearest(pairs: Mapping[tuple[int, int], int]) -> dict[int, int]:
    """For each second frame of these pairs, the first frame that it looks most like."""
    nearest: dict[int, int] = {}
    for first, second in sorted(pairs, key=lambda pair: pairs[pair]):
        nearest.setdefault(second, first)
    return nearest


def similar_images(train: Survey, validation: Survey) -> list[str]:
    """A remark on images of two splits that look alike, if there are any; it names the nearest frame for each."""
    in_train = _nearest(similar_frames(train, validation))
    pairs = [
        f"{validation.split.frames[second].image} like {train.split.frames[first].image}"
        for second, first in sorted(in_train.items())
    ]
    return remark(
        pairs,
        f"of {len(validation.records)} images of {validation.split.name!r} look like images of {train.split.name!r}, as copies "
        "and neighbouring frames do",
        "; move them into one split, else the score is too good to be true",
    )


def shared_frames(train: Survey, validation: Survey) -> list[DataError]:
    """An error if both splits hold the same image file, byte for byte: a score on it would be worthless."""
    train_frames = dict(zip(train.image_keys, train.split.frames, strict=True))
    pairs = [
        (train_frames[key].image, frame.image)
        for key, frame in zip(validation.image_keys, validation.split.frames, strict=True)
        if key in train_frames
    ]
    names = [str(first) if first == second else f"{first}, the same as {second}" for first, second in pairs]
    text = f"of {len(validation.records)} frames of {validation.split.name!r} are in {train.split.name!r} too"
    advice = "; a score on frames that the network was trained on tells nothing"
    return [DataError(line) for line in remark(names, text, advice, MOST_SHARED)]


def swapped_masks(surveys: Sequence[Survey]) -> list[tuple[Path, Path]]:
    """The pairs of masks of all these splits that seem to be swapped; none in surveys of one layer. Reads no file."""
    photos = [(frame.mask, record.details) for survey in surveys for frame, record in survey.photos if record.details]
    pairs = swapped([details.edge_cells for _, details in photos], [details.border_cells for _, details in photos])
    return [(photos[first][0], photos[other][0]) for first, other in pairs]


def swapped_note(pairs: Sequence[tuple[Path, Path]]) -> list[str]:
    """A remark on the pairs of `swapped_masks`, if there are any."""
    names = [f"{first} and {other}" for first, other in pairs]
    return remark(names, "pairs of masks fit each other's image better than their own, as if they were swapped")


def copied_masks(surveys: Sequence[Survey]) -> list[str]:
    """A remark on masks of all these splits that hold the same ids for different images, if there are any.

    Masks of a single class are left out, since many images may share them.
    """
    photos = [each for survey in surveys for each in survey.photos]
    pairs = {  # once each: a frame may be listed twice
        f"{frame.mask} like {photos[first][0].mask}": None
        for (frame, record), first in zip(photos, firsts([record.ids_sha256 for _, record in photos]), strict=True)
        if photos[first][0].mask != frame.mask and photos[first][1].image_sha256 != record.image_sha256
        if len(record.pixels) > 1
    }
    return remark(list(pairs), "masks hold the same labels as another image's, one of which may be wrong")


def _equal_files(survey: Survey) -> list[str]:
    """Pairs of image files of a split with the same bytes, as `b.jpg like a.jpg`."""
    frames, records = survey.split.frames, survey.records
    pairs = {  # once each: a frame may be listed twice
        _pair(survey, index, first, records[first].ids_sha256 != records[index].ids_sha256): None
        for index, first in enumerate(firsts(survey.image_keys))
        if frames[first].image != frames[index].image
    }
    return list(pairs)


def _alike(survey: Survey) -> list[str]:
    """Pairs of images of a split that look alike without being equal files, those with other labels first."""
    number = len(survey.records)
    pairs = similar_frames(survey, survey)
    nearest = _nearest({(first, second): bits for (first, second), bits in pairs.items() if first < second})
    if len(nearest) > max(1, MOST_ALIKE * number) or 2 * len(nearest) >= number:
        return []
    counts = survey.class_pixels
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    differ = {
        second: float(np.abs(shares[first] - shares[second]).sum()) / 2 >= OTHER_LABELS for second, first in nearest.items()
    }
    return [_pair(survey, second, nearest[second], differ[second]) for second in sorted(nearest, key=lambda at: not differ[at])]


def _pair(survey: Survey, second: int, first: int, differ: bool) -> str:
    images: list[Path] = [survey.split.frames[index].image for index in (second, first)]
    return f"{images[0]} like {images[1]}{' (their labels differ)' if differ else ''}"
