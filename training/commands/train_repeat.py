"""`fcn-train` with several trainings: each group left out in turn, several seeds, or folds of train and val.

With `--folds`, every frame of train and val is scored by a network that was trained without it. With `--seeds`, the report has
the spread of the scores, and the weights are averaged.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.manifest import Manifest
from model.metrics import ConfusionMatrix
from model.networks.builder import build_network
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import Weights, load_weights, save_weights
from model.whole_file import write_file
from training.commands.command import print_lines
from training.commands.train_setup import TrainingData, read_pool, survey_groups
from training.commands.train_weights import TrainingWeights, export_weights, scores
from training.data.problems import MOST_NAMED, first_names, raise_all
from training.learning.distributed import World
from training.learning.validation import comparison_line
from training.publishing.card import write_card
from training.reporting.markdown import literal, table_row
from training.scoring.evaluate import table
from training.scoring.frame_report import frame_scores
from training.scoring.intervals import Counts, mean_iou_interval
from training.scoring.trust import interval_line, score_facts
from training.survey.folds import belonging, divide, part
from training.survey.groups import EACH
from training.survey.inspection import pair_errors
from training.survey.records import FILE as SURVEY
from training.survey.records import Survey

Folds = npt.NDArray[np.int64]
"""The fold of each frame (F,), 0 to K - 1; texts, folders and files count from 1."""
Score = Mapping[str, Any]
Train = Callable[[argparse.Namespace, TrainingData | None], TrainingWeights | None]
"""Trains once by these arguments, on this data or on what the arguments name; None in all processes but the first."""


def is_repeated(args: argparse.Namespace) -> bool:
    """Whether the arguments ask for several trainings."""
    return bool(args.group == EACH or args.seeds > 1 or args.folds)


def repeat(args: argparse.Namespace, world: World, train: Train, first_seed: int) -> None:
    """Trains once for each group, seed or fold, each into a folder of its own, and reports all of them.

    Groups print the mean IoU of each, and their mean. Seeds and folds write and print what `write_seed_files` and
    `write_fold_files` say. All trainings use one survey, and the same command resumes each of them.
    """
    out, survey_file = args.out, args.out / SURVEY
    if args.folds:
        pool = world.from_first(lambda: read_pool(args, survey_file))
        fold_of = world.from_first(lambda: divide_pool(pool.train, args.folds, args.group_pattern))
        trainings = []
        for fold in range(args.folds):
            print_lines([f"fold {fold + 1} of {args.folds}"] if world.first else [])
            trainings.append(train(_with(args, out=out / f"fold-{fold + 1}"), without_fold(pool, fold_of, fold)))
        if complete := [training for training in trainings if training]:  # only the first process has them
            report, text = write_fold_files(complete, pool.validation, fold_of, out)
            print(f"\n{text}\nwrote {report} and {report.with_suffix('.json')}")
    elif args.seeds > 1:
        seeds = range(first_seed, first_seed + args.seeds)
        by_seed = {seed: train(_with(args, seed=seed, out=out / f"seed-{seed}"), None) for seed in seeds}
        if world.first:
            path, report, text = write_seed_files({seed: each for seed, each in by_seed.items() if each}, out)
            print(f"\n{text}\nwrote {report}, {path} and {path.with_suffix('.md')}")
            export_weights(path)
    else:
        groups = world.from_first(lambda: survey_groups(args, survey_file))
        by_group = {group: train(_with(args, group=group, out=out / group), None) for group in groups}
        if group_scores := {group: each.mean_iou for group, each in by_group.items() if each}:
            print_lines([", ".join(f"{group} {score:.4f}" for group, score in group_scores.items())])
            print(f"mean of {len(group_scores)} groups: {mean(group_scores.values()):.4f}")


def _with(args: argparse.Namespace, **changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**vars(args) | changes)


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
        score = "none" if row["mean_iou"] is None else f"{row['mean_iou']:.4f}"
        rows.append(table_row(str(fold), str(row["frames"]), score, literal(row["weights"])))
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


def write_seed_files(trainings: Mapping[int, TrainingWeights], folder: Path) -> tuple[Path, Path, str]:
    """Writes the average of the trained weights, with its score on val and its card, and a table of all scores.

    trainings: by seed, at least two, each with its trained file; they differ by seed alone. folder: where
    `NAME-average.safetensors` and `NAME-seeds.md` go. Gives both paths, and the table's text.
    """
    files = {seed: load_weights(training.trained) for seed, training in trainings.items()}
    last = list(trainings.values())[-1]
    average = average_network(list(files.values()))
    last.scorer(average)
    path = folder / f"{last.name}-average.safetensors"
    manifest = average_manifest({seed: weights.manifest for seed, weights in files.items()})
    average_scores = scores(last.scorer, last.data_name)
    save_weights(path, half_tensors(average), replace(manifest, scores=average_scores))
    write_card(path)
    (average_score,) = average_scores.values()
    seed_scores = {seed: next(iter(weights.manifest.scores.values())) for seed, weights in files.items()}
    best = max(trainings, key=lambda seed: seed_scores[seed]["mean_iou"])
    text = seed_report(last.name, seed_scores, average_score, trainings[best].trained, best)
    if last.bar and last.scorer.counts is not None:
        text += f"\n{comparison_line('the average', last.bar.against(last.scorer.counts), len(last.scorer.counts))}\n"
    report = folder / f"{last.name}-seeds.md"
    write_file(report, text, follow=False)
    return path, report, text


def average_network(files: Sequence[Weights]) -> FCN:
    """The network whose tensors are the means of these files' tensors, the statistics of batch norm among them.

    The files have one architecture. Counters, which are integers, are the first file's. Source: Wortsman et al. 2022, a
    uniform soup.
    """
    net = build_network(files[0].manifest.fcn)
    tensors = {}
    for name, first in files[0].tensors.items():
        values = [np.asarray(weights.tensors[name]) for weights in files]
        is_float = np.issubdtype(first.dtype, np.floating)
        tensors[name] = torch.from_numpy(np.mean(values, 0, np.float64).astype(np.float32) if is_float else values[0].copy())
    net.load_state_dict(tensors)
    return net.eval()


def average_manifest(manifests: Mapping[int, Manifest]) -> Manifest:
    """The manifest of the average of trainings, by seed: the first one's, with what belongs to all of them; without scores."""
    trainings = [manifest.training for manifest in manifests.values()]
    seeds = ", ".join(map(str, manifests))
    first = dict(trainings[0])
    for name in ("best_epoch", "against_start"):
        first.pop(name, None)
    changes = {
        "seed": seeds,
        "recipe": {name: value for name, value in first["recipe"].items() if name != "seed"},
        "epochs": ", ".join(str(training["epochs"]) for training in trainings),
        "steps": sum(training["steps"] for training in trainings),
        "skipped_steps": sum(training["skipped_steps"] for training in trainings),
        "hours": round(sum(training["hours"] for training in trainings), 3),
        "notes": [*first["notes"], f"The mean of the weights of {len(trainings)} trainings that differ by seed: {seeds}."],
    }
    return replace(next(iter(manifests.values())), training=first | changes, scores={})


def seed_report(name: str, seed_scores: Mapping[int, Score], average: Score, best_file: Path, best: int) -> str:
    """The scores of trainings on val as Markdown: of each seed, their mean, standard deviation, and the average weights.

    seed_scores: by seed, at least two; each holds `mean_iou`, `iou` and `classes`, as a manifest does. The standard deviation
    is that of a sample (n - 1). A class that val does not show has no numbers. A sentence says so if the average scores less
    than the mean of the seeds.
    """
    columns = [*seed_scores.values(), average]
    head = ["IoU on val", *(f"seed {seed}" for seed in seed_scores), "mean", "standard deviation", "average of the weights"]
    rows = [table_row(*head), "|---|" + "---|" * (len(head) - 1)]
    rows.append(_row("**mean IoU**", [column["mean_iou"] for column in columns]))
    for index, label in enumerate(average["classes"]):
        rows.append(_row(literal(label), [column["iou"][index] for column in columns]))
    best_line = (
        f"Seed {best} has the highest mean IoU on val, {seed_scores[best]['mean_iou']:.4f}: `{best_file}`. It is chosen on "
        f"val, the best of {len(seed_scores)}, so its score is somewhat too good; the mean and the deviation are not chosen."
    )
    seed_mean = mean(score["mean_iou"] for score in seed_scores.values())
    if average["mean_iou"] < seed_mean:
        best_line += (
            f"\n\nThe average of the weights scores {average['mean_iou']:.4f}, less than the mean of the seeds, "
            f"{seed_mean:.4f}: serve the file of a seed. An average helps only if all trainings begin with the same tensors, "
            "and each seed draws those that the start does not have."
        )
    title = f"# {literal(name)}: {len(seed_scores)} trainings that differ by seed"
    return "\n".join([title, "", *rows, "", best_line, ""])


def _row(title: str, values: Sequence[float | None]) -> str:
    """A row: the seeds' values, their mean and standard deviation, and the average's value, which is the last one."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return table_row(title, *[""] * (len(values) + 2))
    seeds = numbers[:-1]
    return table_row(title, *(f"{value:.4f}" for value in [*seeds, mean(seeds), stdev(seeds), numbers[-1]]))
