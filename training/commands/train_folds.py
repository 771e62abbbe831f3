"""`fcn-train --folds`: every frame of train and val is scored by a network that was trained without it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.metrics import ConfusionMatrix
from model.whole_file import write_file
from training.commands.command import print_lines
from training.commands.train_data import TrainingData
from training.commands.train_weights import TrainingWeights
from training.data.problems import MOST_NAMED, first_names, raise_all
from training.reporting.markdown import literal, table_row
from training.scoring.evaluate import table
from training.scoring.frame_report import frame_scores
from training.scoring.intervals import Counts, mean_iou_interval
from training.scoring.trust import interval_line, score_facts
from training.survey.folds import belonging, divide, part
from training.survey.inspection import pair_errors
from training.survey.records import Survey

Folds = npt.NDArray[np.int64]
"""The fold of each frame (F,), 0 to K - 1; texts, folders and files count from 1."""


def divide_pool(pool: Survey, folds: int, pattern: str | None) -> Folds:
    """Divides the frames as `training.survey.folds.divide` does; prints the folds, and what a score of them cannot tell."""
    fold_of = divide(pool, folds, pattern)
    units = belonging(pool, pattern)
    sizes = ", ".join(str(int((fold_of == fold).sum())) for fold in range(folds))
    companions = int((np.bincount(units)[units] > 1).sum())
    why = "look like others, share ground with them or are of their group, and stay with them"
    lines = [f"{folds} folds of {sizes} frames; {companions} frames {why}"]
    if pattern is None:
        lines.append("frames of one video, drive or place must stay in one fold too: --group-pattern finds them by their names")
    has_class = pool.class_pixels > 0
    alone = [
        pool.split.labels.names[class_id]
        for class_id in range(has_class.shape[1])
        if len(np.unique(fold_of[has_class[:, class_id]])) == 1
    ]
    if alone:
        lines.append(
            f"{len(alone)} classes are shown in one fold alone, so the network that is scored on them has not seen them: "
            f"{first_names(alone, MOST_NAMED)}"
        )
    print_lines(lines)
    return fold_of


def without_fold(pool: TrainingData, fold_of: Folds, fold: int) -> TrainingData:
    """The data of one training: the frames of the other folds to learn from, and those of this fold to score on.

    Raises `DataError` if the training could not learn from them or be scored on them.
    """
    name = pool.train.split.name
    train = part(pool.train, fold_of != fold, f"{name} without fold {fold + 1}")
    validation = part(pool.validation, fold_of == fold, f"{name}, fold {fold + 1}")
    raise_all(pair_errors(train, validation))
    return TrainingData(train, validation, pool.score_mapping)


def write_fold_files(trainings: Sequence[TrainingWeights], pool: Survey, fold_of: Folds, folder: Path) -> tuple[Path, str]:
    """Writes `NAME-folds.md`, the scores over all frames, and `NAME-folds.json`, each frame's fold and score.

    trainings: one for each fold, scored on it. Gives the path of the first file, and its text. `fcn-check --weights` reads
    the second one.
    """
    counts = out_of_fold([training.scorer.counts for training in trainings], fold_of)
    names = pool.split.labels.names
    facts = score_facts(counts, mean_iou_interval(counts), names)
    rows = [
        {
            "weights": str(training.final.relative_to(folder)),
            "frames": int((fold_of == fold).sum()),
            "mean_iou": training.scorer.matrix.scores()["mean_iou"],
        }
        for fold, training in enumerate(trainings)
    ]
    name = trainings[0].name
    report = folder / f"{name}-folds.md"
    text = fold_report(name, counts, facts, rows, names)
    write_file(report, text, follow=False)
    keys = {
        str(frame.image): {"image_sha256": record.image_sha256, "fold": int(fold) + 1}
        for frame, record, fold in zip(pool.split.frames, pool.records, fold_of, strict=True)
    }
    frames = [row | keys[row["image"]] for row in frame_scores(counts, pool.split)]
    document = facts | {"folds": rows, "frames_by_class": facts["frames"], "frames": frames}
    write_file(report.with_suffix(".json"), json.dumps(document, indent=1) + "\n", follow=False)
    return report, text


def out_of_fold(counts: Sequence[Counts | None], fold_of: Folds) -> Counts:
    """The matrices (F, n, n) of all frames in order. counts: for each fold the matrices of its frames in order."""
    parts = [part for part in counts if part is not None]
    result = np.zeros((len(fold_of), *parts[0].shape[1:]), np.int64)
    for fold, part_counts in enumerate(parts):
        result[fold_of == fold] = part_counts
    return result


def fold_report(name: str, counts: Counts, facts: dict[str, Any], folds: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The scores as Markdown: of all frames with their interval, and of each fold."""
    heading = f"{len(counts)} frames, each scored by the one of {len(folds)} networks that was trained without it"
    rows = [table_row("fold", "frames", "mean IoU", "file"), "|---|---|---|---|"]
    for fold, row in enumerate(folds, 1):
        mean = "none" if row["mean_iou"] is None else f"{row['mean_iou']:.4f}"
        rows.append(table_row(str(fold), str(row["frames"]), mean, literal(row["weights"])))
    return "\n".join(
        [
            f"# {literal(name)}: {heading}",
            "",
            "```text",
            table(ConfusionMatrix.of_frames(counts), names),
            interval_line(facts),
            "```",
            "",
            *rows,
            "",
            "The score is that of a training on all frames but one fold, so one on all frames may score somewhat more. Folds "
            "show different frames and classes: compare recipes by the score of all frames, not by those of folds. No file of "
            "a fold has seen all frames: to serve one, train without `--folds`.",
            "",
        ]
    )
