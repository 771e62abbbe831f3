"""Remarks on photos that show nothing, or that are other than the rest of their split; reads no file."""

from __future__ import annotations

import numpy as np

from training.data.problems import MOST_NAMED, first_names
from training.survey.doubts import are_exceptions
from training.survey.records import Survey

SMALL = 0.1  # share of the median's pixels below which a photo may be a thumbnail


def odd_photos(survey: Survey) -> list[str]:
    """Remarks on a split's photos, a line for each kind, with their number and the first names.

    If the survey has read no pixels, the remarks are on sizes and CMYK alone.
    """
    name = survey.split.name
    kinds = [
        (
            _looking(survey, "one colour"),
            "images of {} are of one colour, as a shot of nothing is, so their labels teach nothing: {}",
        ),
        (
            _looking(survey, "cut off"),
            "images of {} are black or grey in their lower part, as a file that ended too early is when it is saved again: {}",
        ),
        (
            _small(survey),
            "images of {} have less than a tenth of the pixels that the median image has, as a thumbnail has: {}",
        ),
        (_grey(survey), "images of {} are grey, nearly all others are not: {}"),
        (
            [str(frame.image) for frame, record in zip(survey.split.frames, survey.records, strict=True) if record.is_cmyk],
            "images of {} are CMYK, and are read without their colour profile, so their colours differ from what viewers show; "
            "save them as RGB: {}",
        ),
    ]
    return [f"{len(names)} {text.format(repr(name), first_names(names, MOST_NAMED))}" for names, text in kinds if names]


def _looking(survey: Survey, appearance: str) -> list[str]:
    pairs = zip(survey.split.frames, survey.records, strict=True)
    return [str(frame.image) for frame, record in pairs if record.appearance == appearance]


def _small(survey: Survey) -> list[str]:
    """Photos of far fewer pixels than the median, with their width and height, if they are exceptions."""
    areas = np.array([record.size[0] * record.size[1] for record in survey.records])
    small = np.flatnonzero(areas < SMALL * np.median(areas)).tolist() if len(areas) else []
    if not are_exceptions(len(small), len(areas)):
        return []
    sizes = [survey.records[index].size for index in small]
    return [
        f"{survey.split.frames[index].image} ({width}x{height})" for index, (height, width) in zip(small, sizes, strict=True)
    ]


def _grey(survey: Survey) -> list[str]:
    """Grey photos, if they are exceptions."""
    grey = _looking(survey, "grey")
    return grey if are_exceptions(len(grey), len(survey.records)) else []
