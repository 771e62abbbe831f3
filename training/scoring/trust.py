"""Says in words how far a score can be trusted: how few frames it is over, and what its mean leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model.metrics import ConfusionMatrix
from training.scoring.intervals import Counts, Interval, frames_by_class, rare_classes

FEW, WIDE = 50, 0.1  # a score over fewer frames, or with a wider interval, is told to be a rough one
FOLDS = "fcn-train --folds 5 scores every frame with a network that has not seen it"


def score_facts(counts: Counts, interval: Interval, names: Sequence[str]) -> dict[str, Any]:
    """What a weights file and JSON store of the matrices (F, n, n) of frames: the scores, and how far they can be trusted.

    interval: of the mean IoU. Beside the scores of the sum: `mean_iou_95`, the interval's ends; `scored_frames`, the number of
    frames; `frames`, the number that shows each class; and where there are some, `few_frames`, the classes that too few frames
    show for an interval, and `predicted_only`, the pixels of classes that are predicted and that no label shows.
    """
    matrix = ConfusionMatrix.of_frames(counts)
    facts = matrix.scores() | {"mean_iou_95": interval.rounded(), "scored_frames": len(counts)}
    if rare := rare_classes(counts):
        facts["few_frames"] = {names[class_id]: number for class_id, number in rare.items()}
    if pixels_of_class := matrix.predicted_only:
        facts["predicted_only"] = {names[class_id]: pixels for class_id, pixels in pixels_of_class.items()}
    return facts | {"classes": list(names), "frames": frames_by_class(counts)}


def trust_lines(facts: Mapping[str, Any]) -> list[str]:
    """The interval of the mean IoU, and a sentence where the score is a rough one.

    facts: of `score_facts`.
    """
    return [line for line in (interval_line(facts), few_frames_line(facts)) if line]


def interval_line(facts: Mapping[str, Any]) -> str:
    """The interval of the mean IoU in one line of text, with the classes that few frames show.

    facts: of `score_facts`.
    """
    low, high = facts["mean_iou_95"]
    ends = "without an interval" if low is None else f"{low:.3f} to {high:.3f}"
    line = f"mean IoU, 95% interval (bootstrap over {facts['scored_frames']} frames): {ends}"
    if rare := facts.get("few_frames"):
        line += f"; few frames show {', '.join(f'{name} ({count})' for name, count in rare.items())}"
    return line


def few_frames_line(facts: Mapping[str, Any]) -> str:
    """A sentence on a score over few frames, or with a wide interval or none; empty if it is over enough.

    facts: of `score_facts`, or of a file from before they were stored, for which it is empty.
    """
    frames, (low, high) = facts.get("scored_frames"), facts.get("mean_iou_95", (None, None))
    if frames is None or facts["mean_iou"] is None:
        return ""
    if low is None:
        return f"A score over {frames} frames, too few for an interval: on other frames it may be quite another; {FOLDS}."
    if frames >= FEW and high - low <= WIDE:
        return ""
    return (
        f"A rough score, over {frames} frames: on as many others of this kind it may well be {low:.2f} or {high:.2f}. It does "
        f"not tell which of two networks is better; fcn-evaluate --against compares them frame by frame, and {FOLDS}."
    )
