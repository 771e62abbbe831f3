"""What a data set holds, in numbers: classes by split, sizes, orientations and kinds of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from training.data.problems import MOST_NAMED, DataError, first_names
from training.survey.records import Survey

MOST_SIZES = 4
Row = tuple[str, ...]


def class_rows(surveys: Sequence[Survey]) -> list[Row]:
    """A heading, a row for each class, and one for void: its name, then for each split its frames and its share of pixels."""
    heading = ["class"]
    columns = []
    for survey in surveys:
        heading += [f"{survey.split.name}: frames", "pixels"]
        counts = survey.class_pixels
        pixels = sum(record.size[0] * record.size[1] for record in survey.records)
        void = [record.size[0] * record.size[1] - int(row.sum()) for record, row in zip(survey.records, counts, strict=True)]
        frames = [*(counts > 0).sum(0).tolist(), sum(number > 0 for number in void)]
        columns.append((frames, [_share(number, pixels) for number in [*counts.sum(0).tolist(), sum(void)]]))
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
