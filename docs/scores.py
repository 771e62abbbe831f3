"""Writes what `docs/accuracy.md` says of the published weights, from their files.

`python -m docs.scores` fills two tables: the scores, and the temperatures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from model.manifest import INT8_SCORES, scored_in
from model.weights_file import find_weights, load_weights
from training.publishing.card_sections import checked_frames, table_row

PAGE = Path(__file__).with_name("accuracy.md")
PUBLISHED = {
    "voc-fcn8s-mobilenet-v2": "VOC 2012 animals, val",
    "camvid-fcn8s-mobilenet-edgetpu": "CamVid, val",
}
"""The weights, each with the name of its scores."""
PRECISIONS = ("float32", *INT8_SCORES.values())
SCORES = ("weights", "frames", "classes", "mean IoU", "95% interval", "near borders", "pixel accuracy")
TEMPERATURES = ("weights", "temperature", "frames", "checked on", "ECE without", "ECE with one")


def main() -> None:
    PAGE.write_text(page(PAGE.read_text()))


def page(text: str) -> str:
    """The page with both tables as the weights files have them."""
    return _filled(_filled(text, SCORES, scores()), TEMPERATURES, temperatures())


def scores() -> Iterator[tuple[str, ...]]:
    for name, score in PUBLISHED.items():
        scores_of_file = load_weights(find_weights(name)).manifest.scores
        candidates = [scored_in(f"{score}{quality}", each) for quality in ("", ", quality high") for each in PRECISIONS]
        for frames in [candidate for candidate in candidates if candidate in scores_of_file]:
            values = scores_of_file[frames]
            low, high = values.get("mean_iou_95", (None, None))
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            boundary_iou = f"{values['boundary_iou']:.3f}" if "boundary_iou" in values else ""
            numbers = f"{values['mean_iou']:.3f}", interval, boundary_iou, f"{values['pixel_accuracy']:.3f}"
            yield name, frames, str(len(values["classes"])), *numbers


def temperatures() -> Iterator[tuple[str, ...]]:
    for name in PUBLISHED:
        training = load_weights(find_weights(name)).manifest.training
        fits = {name: training.get("calibration"), f"{name}, int8": training.get("calibration_int8")}
        for label, fit in [(label, fit) for label, fit in fits.items() if fit]:
            errors = f"{fit['ece_before']:.4f}", f"{fit['ece_after']:.4f}"
            yield label, f"{fit['temperature']:.3f}", *map(str, checked_frames(fit)), *errors


def _filled(text: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The text with these rows in the table that has this header."""
    head = f"{table_row(*header)}\n|{'---|' * len(header)}\n"
    lines = "".join(f"{table_row(*row)}\n" for row in rows)
    return re.sub(rf"({re.escape(head)})(?:\|.*\n)*", lambda match: match[1] + lines, text)


if __name__ == "__main__":
    main()
