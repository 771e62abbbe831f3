"""`fcn-train --seeds`: the spread of the scores of trainings that differ by seed, and the average of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from model.manifest import Manifest
from model.networks.builder import build_network
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import Weights, load_weights, save_weights
from model.whole_file import write_file
from training.commands.train_weights import TrainingWeights, scores
from training.learning.start_score import comparison_line
from training.publishing.card import write_card
from training.reporting.markdown import literal, table_row

Score = Mapping[str, Any]


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
