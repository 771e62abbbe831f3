"""`fcn-train` with several trainings: several seeds, or folds of train and val, and a report on their scores."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from common.whole_file import write_file
from model.weights_file import load_weights
from training.commands.command import print_lines
from training.commands.train_setup import TrainingData, survey_pool, survey_splits
from training.commands.train_weights import TrainingWeights
from training.data.network_classes import scored_names
from training.data.problems import raise_all, remark
from training.learning.distributed import World
from training.publishing.card_sections import literal, table_row
from training.scoring.evaluate import table
from training.scoring.frame_report import frame_scores
from training.scoring.intervals import interval_line, score_entry
from training.scoring.metrics import ConfusionMatrix, Counts
from training.survey.folds import belonging, divide, part
from training.survey.inspection import pair_errors
from training.survey.records import FILE as SURVEY
from training.survey.records import Survey

Folds = npt.NDArray[np.int64]
"""The fold of each frame (F,), 0 to K - 1; texts, folders and files count from 1."""
Score = Mapping[str, Any]
TextAndPaths = tuple[str, list[Path]]
"""A text, and the paths of the files that hold it and its numbers."""
Train = Callable[[argparse.Namespace, TrainingData], TrainingWeights | None]
"""Trains once by these arguments, on this data; None in all processes but the first."""


def repeat(args: argparse.Namespace, world: World, train: Train, first_seed: int) -> None:
    """Trains once for each fold or seed, each into a folder of its own; writes and prints a report on all of them.

    With folds, every frame of train and val is scored by a network that was trained without it. With seeds, the report has the
    spread of the scores. All trainings use one survey, and the same command resumes each of them.
    """
    kind, file = "fold" if args.folds else "seed", args.out / SURVEY
    if args.folds:
        pool = world.from_first(lambda: survey_pool(args, file))
        fold_of = world.from_first(lambda: divide_pool(pool.train, args.folds, args.group_pattern))
        runs = {fold + 1: without_fold(pool, fold_of, fold) for fold in range(args.folds)}
    else:
        seeds = range(first_seed, first_seed + args.seeds)
        runs = dict.fromkeys(seeds, world.from_first(lambda: survey_splits(args, file)))
    trainings = {}
    for number, data in runs.items():
        print_lines([f"{kind} {number}"] if world.first else [])
        changes = {"out": args.out / f"{kind}-{number}"} | ({} if args.folds else {"seed": number})
        if training := train(argparse.Namespace(**vars(args) | changes), data):
            trainings[number] = training
    if trainings:  # only the first process has them
        if args.folds:
            text, paths = write_fold_files(list(trainings.values()), pool.validation, fold_of, args.out)
        else:
            text, paths = write_seed_files(trainings, args.out)
        print(f"\n{text}\nwrote {' and '.join(map(str, paths))}")


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
    lines += remark(alone, "classes are shown in one fold alone, so the network that is scored on them has not seen them")
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
    return TrainingData(train, validation)


def write_fold_files(trainings: Sequence[TrainingWeights], pool: Survey, fold_of: Folds, folder: Path) -> TextAndPaths:
    """Writes `NAME-folds.md`, the scores over all frames, and `NAME-folds.json`, each frame's fold and score.

    trainings: one for each fold, scored on it. `fcn-check --weights` reads the second file.
    """
    counts = out_of_fold([training.scorer.counts for training in trainings], fold_of)
    names = scored_names(pool.split)
    entry = score_entry(counts, names)
    rows = [
        {
            "weights": str(training.path().relative_to(folder)),
            "frames": int((fold_of == fold).sum()),
            "mean_iou": training.scorer.matrix.scores()["mean_iou"],
        }
        for fold, training in enumerate(trainings)
    ]
    name = trainings[0].name
    report = folder / f"{name}-folds.md"
    text = fold_report(name, counts, entry, rows, names)
    write_file(report, text, follow=False)
    keys = {
        str(frame.image): {"image_sha256": record.image_sha256, "fold": int(fold) + 1}
        for frame, record, fold in zip(pool.split.frames, pool.records, fold_of, strict=True)
    }
    frames = [row | keys[row["image"]] for row in frame_scores(counts, pool.split)]
    document = entry | {"folds": rows, "frames_by_class": entry["frames"], "frames": frames}
    write_file(report.with_suffix(".json"), json.dumps(document, indent=1) + "\n", follow=False)
    return text, [report, report.with_suffix(".json")]


def out_of_fold(counts: Sequence[Counts], fold_of: Folds) -> Counts:
    """The matrices (F, n, n) of all frames in order. counts: for each fold the matrices of its frames in order."""
    rows, columns = np.max([each.shape[1:] for each in counts], 0)  # a fold may lack the frames of a set
    result = np.zeros((len(fold_of), rows, columns), np.int64)
    for fold, part_counts in enumerate(counts):
        result[fold_of == fold, : part_counts.shape[1], : part_counts.shape[2]] = part_counts
    return result


def fold_report(name: str, counts: Counts, entry: dict[str, Any], folds: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The scores as Markdown: of all frames with their interval, and of each fold."""
    heading = f"{len(counts)} frames, each scored by the one of {len(folds)} networks that was trained without it"
    rows = [table_row("fold", "frames", "mean IoU", "file"), "|---|---|---|---|"]
    for fold, row in enumerate(folds, 1):
        score = "none" if row["mean_iou"] is None else f"{row['mean_iou']:.4f}"
        rows.append(table_row(str(fold), str(row["frames"]), score, literal(row["weights"])))
    return "\n".join(
        [
            f"# {literal(name)}: {heading}",
            "",
            "```text",
            table(ConfusionMatrix(counts.sum(0)), names),
            interval_line(entry),
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


def write_seed_files(trainings: Mapping[int, TrainingWeights], folder: Path) -> TextAndPaths:
    """Writes `NAME-seeds.md`, the scores on val of trainings that differ by seed alone.

    trainings: by seed, at least two, each with its trained file.
    """
    manifests = {seed: load_weights(training.trained_path).manifest for seed, training in trainings.items()}
    seed_scores = {seed: next(iter(manifest.scores.values())) for seed, manifest in manifests.items()}
    best = max(trainings, key=lambda seed: seed_scores[seed]["mean_iou"])
    name = trainings[best].name
    text = seed_report(name, seed_scores, trainings[best].trained_path, best)
    report = folder / f"{name}-seeds.md"
    write_file(report, text, follow=False)
    return text, [report]


def seed_report(name: str, seed_scores: Mapping[int, Score], best_file: Path, best: int) -> str:
    """The scores of trainings on val as Markdown: of each seed, their mean and their standard deviation.

    seed_scores: by seed, at least two; each holds `mean_iou`, `iou` and `classes`, as a manifest does. The standard deviation
    is that of a sample (n - 1). A class that val does not show has no numbers.
    """
    columns = list(seed_scores.values())
    head = ["IoU on val", *(f"seed {seed}" for seed in seed_scores), "mean", "standard deviation"]
    rows = [table_row(*head), "|---|" + "---|" * (len(head) - 1)]
    rows.append(_row("**mean IoU**", [column["mean_iou"] for column in columns]))
    for index, label in enumerate(columns[0]["classes"]):
        rows.append(_row(literal(label), [column["iou"][index] for column in columns]))
    best_line = (
        f"Seed {best} has the highest mean IoU on val, {seed_scores[best]['mean_iou']:.4f}: `{best_file}`. It is chosen on "
        f"val, the best of {len(seed_scores)}, so its score is somewhat too good; the mean and the deviation are not chosen."
    )
    title = f"# {literal(name)}: {len(seed_scores)} trainings that differ by seed"
    return "\n".join([title, "", *rows, "", best_line, ""])


def _row(title: str, values: Sequence[float | None]) -> str:
    """A row: the seeds' values, their mean and their standard deviation."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return table_row(title, *[""] * (len(values) + 2))
    return table_row(title, *(f"{value:.4f}" for value in [*numbers, mean(numbers), stdev(numbers)]))
