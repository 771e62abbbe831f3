"""What a survey tells the user before a split is used: errors, how masks are read, what may be wrong, and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from imaging.classes import VOID
from training.data.label_files import alike_names
from training.data.problems import MOST_NAMED, DataError, first_names, remark
from training.data.sets import LABELLED
from training.survey.copies import copied_images, copied_masks, shared_frames, similar_images, swapped_masks, swapped_note
from training.survey.doubts import LEAST_FRAMES, doubtful_labels, odd_photos, outlying_masks
from training.survey.records import Survey

FEW_FRAMES = 3  # a class that fewer frames show is named
MOST_SIZES = 4
Row = tuple[str, ...]


def class_errors(survey: Survey, fewest_classes: int = 1) -> list[DataError]:
    """Errors of sets that show a class which they do not label, and one if the masks show fewer classes than this.

    None for a split without frames. What a set does not label counts as a class if there must be two.
    """
    class_ids, labels = survey.shown_classes, survey.split.labels
    errors, is_enough = _unlisted_classes(survey), len(class_ids) + (fewest_classes > 1 and survey.split.is_partial)
    if errors or is_enough >= fewest_classes or not survey.records:
        return errors
    names = ", ".join(labels.names[index] for index in class_ids) or "no class"
    return [
        DataError(
            f"the masks of the split {survey.split.name!r} show {names} of {len(labels)} classes, which is too few; masks hold "
            f"class ids (0 to {len(labels) - 1}), and 255 is void, not an object"
        )
    ]


def _unlisted_classes(survey: Survey) -> list[DataError]:
    """An error for each class of a mask that the mask's set does not label."""
    names = survey.split.source_labels.names
    return [
        DataError(f"{frame.mask}: it shows {names[each]}, which {frame.set.folder / LABELLED} does not name")
        for frame, record in survey.frames
        if frame.set.labelled is not None
        for each in record.pixels.keys() - frame.set.labelled
        if 0 < each < len(names)
    ]


def meaning(survey: Survey) -> str:
    """How a split's masks are read, in one line."""
    if survey.split.meaning == "colors":
        return "masks: read by the classes' colours"
    color_masks = [frame.mask for frame, record in survey.frames if record.is_colored]
    if len(color_masks) == len(survey.records):
        return "masks: RGB images, read by the classes' colours"
    exception = f"; {len(color_masks)} RGB images are read by the classes' colours: {first_names(color_masks)}"
    return f"masks: pixel values are class ids{exception if color_masks else ''}"


def notes(survey: Survey, swaps: Collection[Path] = ()) -> list[str]:
    """What may be wrong with a split, one line for each remark. swaps: masks that another remark names as swapped."""
    split, labels = survey.split, survey.split.labels
    lines = list(split.notes)
    if pairs := [(frame.mask, *record.contradiction) for frame, record in survey.frames if record.contradiction]:
        _, value, other = pairs[0]
        names = split.source_labels.names
        first = f"in the first, the value {value} is {names[value]!r} and has the colour of {names[other]!r}"
        lines += remark(
            [path for path, *_ in pairs],
            "masks have a palette that contradicts the classes' colours",
            f"; {first}; if colours count, --masks colors",
        )
    black_and_white = [frame.mask for frame, record in survey.photos if record.is_black_and_white]
    kinds = [record.pixels.keys() for _, record in survey.photos]
    with_borders = [kind for kind in kinds if VOID in kind and kind - {0, VOID}]  # objects have void borders
    if black_and_white and len(black_and_white) >= len(with_borders):
        lines.append(
            f"{len(black_and_white)} masks of {split.name!r} hold 0 and 255 alone, such as "
            f"{first_names(black_and_white, MOST_NAMED)}: 255 is void, not an object; save objects as the id of their class, "
            "or give --masks colors"
        )
    lines += [*doubtful_labels(survey, swaps), *outlying_masks(survey), *odd_photos(survey), *copied_images(survey)]
    frames = [(frame, record.details) for frame, record in survey.frames if record.is_orientation_ambiguous]
    if images := [frame.image for frame, details in frames if not (details and details.fits_upright)]:
        lines.append(
            f"{len(images)} images of {split.name!r} are turned by EXIF, such as {first_names(images)}: masks are read as "
            "drawn on the upright image; if they were drawn on the stored one, --masks-orientation stored"
        )
    missing = [entry.name for entry in labels.classes if entry.id not in survey.shown_classes]
    lines += [*alike_names(labels.names), *remark(missing, f"of {len(labels)} classes are never shown in {split.name!r}")]
    return lines + _shown_by_few(survey)


def _shown_by_few(survey: Survey) -> list[str]:
    """A remark on the classes that few of the split's frames show, if there are any."""
    split, counts = survey.split, survey.class_pixels
    if len(counts) < LEAST_FRAMES:
        return []
    classes = []
    for index, label in enumerate(split.labels.names):
        frames = [frame.name for frame, row in zip(split.frames, counts, strict=True) if row[index]]
        if 0 < len(frames) < FEW_FRAMES:
            classes.append(f"{label} ({', '.join(frames)})")
    few = f"fewer than {FEW_FRAMES} of the {len(counts)} frames of {split.name!r}"
    return remark(classes, f"of {len(split.labels)} classes are shown by {few}")


def pair_errors(train: Survey, validation: Survey) -> list[DataError]:
    """The errors of two splits with which no training can learn and be scored."""
    return [*class_errors(train, fewest_classes=2), *class_errors(validation), *shared_frames(train, validation)]


def pair_notes(train: Survey, validation: Survey) -> list[str]:
    """What may be wrong with two splits and between them, a line for each remark."""
    surveys = [train, validation]
    pairs = swapped_masks(surveys)
    swaps = {mask for pair in pairs for mask in pair}
    lines = [*swapped_note(pairs), *copied_masks(surveys)]
    lines += [note for survey in surveys for note in notes(survey, swaps)]
    lines += similar_images(train, validation)
    return list(dict.fromkeys(lines))  # once each: two splits in one folder have notes in common


def class_table(surveys: Sequence[Survey]) -> list[Row]:
    """A heading, a row for each class, and one for void: its name, then for each split its frames and its share of pixels."""
    void = "(void or not labelled)" if any(survey.split.is_partial for survey in surveys) else "(void)"
    columns = [["class", *surveys[0].split.labels.names, void] if surveys else ["class"]]
    for survey in surveys:
        counts = survey.class_pixels
        counts = np.column_stack([counts, survey.areas - counts.sum(1)])  # void is the rest
        columns.append([f"{survey.split.name}: frames", *map(str, (counts > 0).sum(0).tolist())])
        columns.append(["pixels", *(_share(number, int(survey.areas.sum())) for number in counts.sum(0).tolist())])
    return list(zip(*columns, strict=True))


def summary(survey: Survey) -> list[str]:
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
    widths = [(column, max(map(len, column))) for column in zip(*rows, strict=True)]
    cells = [[cell.rjust(width) if at else cell.ljust(width) for cell in column] for at, (column, width) in enumerate(widths)]
    return ["  ".join(row) for row in zip(*cells, strict=True)]


def _share(number: int, whole: int) -> str:
    """A share in percent, with two digits where it is small; `-` for none."""
    return f"{100 * number / whole:.3g}%" if number else "-"
