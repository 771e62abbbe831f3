"""What a survey tells the user before a split is used: errors, how masks are read, what may be wrong, and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from imaging.classes import VOID
from training.data.label_files import alike_names
from training.data.problems import MOST_NAMED, DataError, first_names, raise_all, remark
from training.survey.copies import (
    copied_images,
    copied_masks,
    shared_frames,
    similar_images,
    swapped_masks,
    swapped_note,
)
from training.survey.doubts import doubtful_labels, odd_photos, outlying_masks, rare_classes
from training.survey.records import Survey

MOST_SIZES = 4
Row = tuple[str, ...]


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
        name, labels = self.survey.split.name, self.survey.split.labels
        names = ", ".join(labels.names[index] for index in self.class_ids) or "no class"
        return [
            DataError(
                f"the masks of the split {name!r} show {names} of {len(labels)} classes, which is too few; masks hold class "
                f"ids (0 to {len(labels) - 1}), and 255 is void, not an object"
            )
        ]

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
    def notes(self) -> list[str]:
        """What may be wrong with the split, one line for each remark."""
        split, labels = self.survey.split, self.survey.split.labels
        frames = list(zip(split.frames, self.survey.records, strict=True))
        notes = list(split.notes)
        if pairs := [(frame.mask, *record.contradiction) for frame, record in frames if record.contradiction]:
            _, value, other = pairs[0]
            names = split.source_labels.names
            first = f"in the first, the value {value} is {names[value]!r} and has the colour of {names[other]!r}"
            notes += remark(
                [path for path, *_ in pairs],
                "masks have a palette that contradicts the classes' colours",
                f"; {first}; if colours count, --masks colors",
            )
        black_and_white = [frame.mask for frame, record in self.survey.photos if record.is_black_and_white]
        kinds = [record.pixels.keys() for _, record in self.survey.photos]
        bordered = [kind for kind in kinds if VOID in kind and kind - {0, VOID}]  # objects have void borders
        if black_and_white and len(black_and_white) >= len(bordered):
            notes.append(
                f"{len(black_and_white)} masks of {split.name!r} hold 0 and 255 alone, such as "
                f"{first_names(black_and_white, MOST_NAMED)}: 255 is void, not an object; save objects as the id of their "
                "class, or give --masks colors"
            )
        notes += [*doubtful_labels(self.survey, self.swaps), *outlying_masks(self.survey)]
        notes += [*odd_photos(self.survey), *copied_images(self.survey)]
        if images := [frame.image for frame, record in frames if record.is_orientation_ambiguous]:
            notes.append(
                f"{len(images)} images of {split.name!r} are turned by EXIF, such as {first_names(images)}: masks are read as "
                "drawn on the upright image; if they were drawn on the stored one, --masks-orientation stored"
            )
        notes += alike_names(labels.names)
        missing = [entry.name for entry in labels.classes if entry.id not in self.class_ids]
        notes += remark(missing, f"of {len(labels)} classes are never shown in {split.name!r}")
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
    lines += similar_images(train, validation)
    return list(dict.fromkeys(lines))  # once each: two splits in one folder have notes in common


def class_rows(surveys: Sequence[Survey]) -> list[Row]:
    """A heading, a row for each class, and one for void: its name, then for each split its frames and its share of pixels."""
    heading = ["class"]
    columns = []
    for survey in surveys:
        heading += [f"{survey.split.name}: frames", "pixels"]
        counts = survey.class_pixels
        counts = np.column_stack([counts, survey.areas - counts.sum(1)])  # void is the rest
        shares = [_share(number, int(survey.areas.sum())) for number in counts.sum(0).tolist()]
        columns.append(((counts > 0).sum(0).tolist(), shares))
    names = [*surveys[0].split.labels.names, "(void)"] if surveys else []
    rows = [
        (name, *(text for frames, shares in columns for text in (str(frames[index]), shares[index])))
        for index, name in enumerate(names)
    ]
    return [tuple(heading), *rows]


def facts(survey: Survey) -> list[str]:
    """Lines on a split: the number of frames, their sizes, the kinds of masks, and how many images EXIF turns."""
    records = survey.records
    sizes = Counter(f"{record.size[1]}x{record.size[0]}" for record in records).most_common()
    kinds = Counter(record.kind for record in records)
    turn_count = sum(record.orientation != 1 for record in records)
    size_text = first_names((f"{size} ({count})" for size, count in sizes), MOST_SIZES)
    return [
        f"{survey.split.name}: {len(records)} frames; width x height: {size_text or 'none'}",
        f"  kinds of masks: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common()) or 'none'}; "
        f"{turn_count} images are turned by EXIF",
    ]


def grouped(errors: Sequence[DataError]) -> list[str]:
    """A line for each kind of error: its number, the first one's text, and the names of the other files."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for error in errors:
        file, separator, text = str(error).partition(": ")
        kind = "".join("#" if letter.isdigit() else letter for letter in text) if separator else file
        kinds.setdefault(kind, []).append((file, str(error)))
    lines = []
    for same in kinds.values():
        others = first_names((file for file, _ in same[1:]), MOST_NAMED)
        lines.append(f"{len(same)} x {same[0][1]}" + (f"; as well: {others}" if others else ""))
    return lines


def columns(rows: Sequence[Row]) -> list[str]:
    """Rows as lines of text: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _share(number: int, whole: int) -> str:
    """A share in percent, with two digits where it is small; `-` for none."""
    return f"{100 * number / whole:.3g}%" if number else "-"
