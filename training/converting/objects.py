"""Refuses networks that find objects, by the shapes of all that they give."""

from __future__ import annotations

from math import ceil

from training.converting.graph import ConversionError
from training.converting.masks import SHAPES, Queries, pairs
from training.converting.samples import Array, Sample, is_auxiliary, shapes

ROWS = (4, 5, 6, 7)  # numbers of an object: its box, a score, a class, its image
LEVELS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))  # pixels of the cells at which one-stage detectors look for objects
ANCHORS = (1, 3)  # boxes of a cell
LONGEST_ROW = 6  # of a box, a score and a class, before the coefficients of prototypes
EXPECTED = f"semantic segmentation is a map (1, classes, rows, columns), or {SHAPES}"


def refuse_boxes(first: Sample, output: str | None, classes: int | None) -> None:
    """Raises `ConversionError` for a network that gives boxes, unless the user names a map of the image's own size.

    output: as the user says it. classes: how many are named; None without names.
    """
    boxes = [name for name in first.values if name not in first.maps and _holds_boxes(first, name)]
    boxes = [name for name in boxes if not _may_be_scores(first, name, classes)]
    whole = [name for name, (_, stride) in first.maps.items() if stride == 1]
    if boxes and output not in whole:
        advice = f"; for a map of classes beside them: --output {whole[0]}" if whole else ""
        raise ConversionError(
            f"the output {boxes[0]} holds boxes of objects by its shape: {shapes(first.values)}; networks that find objects "
            f"are not served: {EXPECTED}{advice}"
        )


def refuse_unknown(first: Sample, queries: Queries | None, output: str | None) -> None:
    """Raises `ConversionError` for an output that neither is a map nor belongs to queries, unless the user names one to serve.

    Masks of objects come with such outputs, as scores of whole masks.
    """
    unknown = [name for name in first.values if name not in first.maps and not is_auxiliary(name) and _is_table(first, name)]
    if queries:  # their other features have three axes, as the scores
        unknown = [name for name in unknown if first.values[name].ndim != 3]
    if output is None and unknown and first.maps:
        answer = f"{queries.scores},{queries.masks}" if queries else next(iter(first.maps))
        raise ConversionError(
            f"the output {unknown[0]} is no map, as masks of objects come with: {shapes(first.values)}; {EXPECTED}; if it has "
            f"no meaning here: --output {answer}"
        )


def _is_table(first: Sample, name: str) -> bool:
    return first.values[name].ndim >= 2


def _holds_boxes(first: Sample, name: str) -> bool:
    """Whether each object has a row: of a box, or of a box and the coefficients of a map's channels; or each cell has one."""
    shape = first.values[name].shape
    if shape[:2] in [first.values[each].shape[:2] for each in first.maps]:  # of the queries of these masks
        return shape[-1] in ROWS
    height, width = first.size
    cells = [sum(ceil(height / step) * ceil(width / step) for step in steps) for steps in LEVELS]
    rows = [*ROWS, *(LONGEST_ROW + first.values[each].shape[1] for each in first.maps)]
    return len(shape) >= 2 and (shape[-1] in rows or any(cell * each in shape for cell in cells for each in ANCHORS))


def _may_be_scores(first: Sample, name: str, classes: int | None) -> bool:
    """Whether a row for each query holds scores of the classes and none: these may be negative, boxes are not."""
    values: Array = first.values[name]
    of_queries = [scores for scores, _ in pairs(first)]
    is_alone = of_queries == [name]
    return name in of_queries and (is_alone or classes in (None, values.shape[2] - 1)) and values.min() < 0
