"""What a survey tells the user before a split is used: errors, how masks are read, and what may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from training.data.label_files import alike_names
from training.data.problems import MOST_NAMED, DataError, first_names, raise_all
from training.survey.copies import copied_images, similar_frames, similar_note
from training.survey.doubts import are_exceptions, copied_masks, doubtful_labels, rare_classes, swapped_masks, swapped_note
from training.survey.groups import shared_frames
from training.survey.outliers import inverted_note, outlying_masks
from training.survey.records import Survey

SMALL = 0.1  # share of the median's pixels below which a photo may be a thumbnail


@dataclass(frozen=True)
class Report:
    """The report on one surveyed split; reads no file.

    swaps: masks that a remark on both splits names as swapped.
    """

    survey: Survey
    swaps: frozenset[Path] = frozenset()

    @cached_property
    def class_ids(self) -> set[int]:
        """The classes that the masks show, after the split's mapping."""
        return set(self.survey.class_pixels.sum(0).nonzero()[0].tolist())

    def errors(self, fewest_classes: int = 1) -> list[DataError]:
        """An error if the masks show fewer classes than this; none for a split without frames."""
        if len(self.class_ids) >= fewest_classes or not self.survey.records:
            return []
        return [self._too_few(", ".join(self.survey.split.labels.names[index] for index in self.class_ids) or "no class")]

    def _too_few(self, names: str) -> DataError:
        split = self.survey.split
        return DataError(
            f"the masks of the split {split.name!r} show {names} of {len(split.labels)} classes, which is too few; masks hold "
            f"class ids (0 to {len(split.labels) - 1}), and 255 is void, not an object"
        )

    @property
    def meaning(self) -> str:
        """How the split's masks are read, in one line."""
        split, records = self.survey.split, self.survey.records
        if split.meaning == "colors":
            return "masks: read by the classes' colours"
        color_masks = [frame.mask for frame, record in zip(split.frames, records, strict=True) if record.is_colored]
        if len(color_masks) == len(records):
            return "masks: RGB images, read by the classes' colours"
        if color_masks:
            exception = f"{len(color_masks)} RGB images are read by the classes' colours: {first_names(color_masks)}"
            return f"masks: pixel values are class ids; {exception}"
        return "masks: pixel values are class ids"

    @property
    def _object_ids(self) -> str:
        """The ids that masks of objects hold, in words: those that the other masks show beside 0, or the classes'."""
        labels = self.survey.split.source_labels
        values = {value for record in self.survey.records for value in record.pixels if 0 < value < len(labels)}
        ids = sorted(values) or list(range(1, len(labels)))
        if len(ids) < 2:
            return str(ids[0] if ids else 1)
        return f"the id of their class ({first_names((f'{labels.names[value]} {value}' for value in ids), MOST_NAMED)})"

    @property
    def notes(self) -> list[str]:
        """What may be wrong with the split, one line for each remark."""
        split, labels = self.survey.split, self.survey.split.labels
        frames = list(zip(split.frames, self.survey.records, strict=True))
        notes = list(split.notes)
        if pairs := [(frame.mask, *record.contradiction) for frame, record in frames if record.contradiction]:
            _, value, other = pairs[0]
            names = split.source_labels.names
            paths = first_names((path for path, *_ in pairs), MOST_NAMED)
            notes.append(
                f"{len(pairs)} masks have a palette that contradicts the classes' colours: {paths}; in the first, the value "
                f"{value} is {names[value]!r} and has the colour of {names[other]!r}; if colours count, --masks colors"
            )
        if black_and_white := [frame.mask for frame, record in frames if record.is_black_and_white]:
            notes.append(
                f"{len(black_and_white)} masks of {split.name!r} hold 0 and 255 alone, such as "
                f"{first_names(black_and_white, MOST_NAMED)}: 255 is void, not an object; save objects as {self._object_ids}, "
                "or give --masks colors"
            )
        notes += [*doubtful_labels(self.survey, self.swaps), *outlying_masks(self.survey), *inverted_note(self.survey)]
        notes += [*odd_photos(self.survey), *copied_images(self.survey)]
        if images := [frame.image for frame, record in frames if record.is_orientation_ambiguous]:
            notes.append(
                f"{len(images)} images of {split.name!r} are turned by EXIF, such as {first_names(images)}: masks are read as "
                "drawn on the upright image; if they were drawn on the stored one, --masks-orientation stored"
            )
        notes += alike_names(labels.names)
        if missing := [entry.name for entry in labels.classes if entry.id not in self.class_ids]:
            notes.append(
                f"{len(missing)} of {len(labels)} classes are never shown in {split.name!r}: {first_names(missing, MOST_NAMED)}"
            )
        return notes + rare_classes(self.survey)


def report_all(surveys: Sequence[Survey]) -> list[Report]:
    """The reports on several splits; raises `DataError` if the masks of one have no label at all."""
    reports = [Report(survey) for survey in surveys]
    raise_all([error for report in reports for error in report.errors()])
    return reports


def pair_errors(train: Survey, validation: Survey) -> list[DataError]:
    """The errors of two splits with which no training can learn and be scored."""
    return [*Report(train).errors(fewest_classes=2), *Report(validation).errors(), *shared_frames(train, validation)]


def pair_notes(train: Survey, validation: Survey) -> list[str]:
    """What may be wrong with two splits and between them, a line for each remark."""
    surveys = [train, validation]
    pairs = swapped_masks(surveys)
    swaps = frozenset(mask for pair in pairs for mask in pair)
    lines = [*swapped_note(pairs), *copied_masks(surveys)]
    lines += [note for survey in surveys for note in Report(survey, swaps).notes]
    if similar := similar_frames(train, validation):
        lines.append(similar_note(train, validation, similar))
    return list(dict.fromkeys(lines))  # once each: two splits in one folder have notes in common


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
