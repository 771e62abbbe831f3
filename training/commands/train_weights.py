"""The weights files that `fcn-train` writes while it trains: the last epoch's, the best one's, and the final one.

The final one holds the start's weights where the training made them worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from common.command_line import install_command
from model.inference.plan import Options
from model.manifest import Manifest, scored_in
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import save_weights
from training.learning.checkpoint import FILE as CHECKPOINT
from training.learning.checkpoint import Progress
from training.learning.validation import Scorer, StartScore, comparison_line
from training.publishing.export_files import export_float32, missing_packages, remove_stale
from training.scoring.changes import Change
from training.scoring.evaluate import conditions
from training.scoring.intervals import score_entry

Kind = Literal["", "-last", "-best", "-trained"]
"""`-trained`: the trained network, where the start's weights are kept as the file that the training ends with."""
KEPT: tuple[Kind, ...] = ("-last", "-best")  # after each epoch
ADVICE = "label more photos, or train more gently: --set learning_rate=NUMBER below the plan's, or fewer --epochs"


@dataclass(frozen=True)
class TrainingWeights:
    """Writes `NAME-last.safetensors` and `NAME-best.safetensors` in a folder.

    manifest: without scores and progress. scorer: holds the last scores. data_name: of val's data set, in the scores. bar: the
    start's score, if the start is a weights file of ours that knows some of the classes.
    """

    folder: Path
    name: str
    manifest: Manifest
    scorer: Scorer
    data_name: str
    bar: StartScore | None = None

    def path(self, kind: Kind = "") -> Path:
        """The path of the file of this kind, by default of the one that the training ends with."""
        return self.folder / f"{self.name}{kind}.safetensors"

    @property
    def trained(self) -> Path:
        """The file of the trained network."""
        beside = self.path("-trained")
        return beside if beside.is_file() else self.path()

    def manifest_at(self, progress: Progress) -> Manifest:
        """The manifest with this progress, without scores."""
        return replace(self.manifest, training={**self.manifest.training, **progress.to_dict()})

    def save(self, net: FCN, progress: Progress, is_best: bool | None) -> None:
        """Writes the network after an epoch. is_best: whether its score is the best so far; None for an epoch without one."""
        manifest, tensors = self.manifest_at(progress), half_tensors(net)
        if is_best is not None:
            manifest = replace(manifest, scores=last_scores(self.scorer, self.data_name))
        for kind in KEPT if is_best else KEPT[:1]:
            save_weights(self.path(kind), tensors, manifest)

    def remove_earlier(self) -> None:
        """Removes both files if the folder has no checkpoint: they are of another training."""
        if not (self.folder / CHECKPOINT).is_file():
            for kind in KEPT:
                self.path(kind).unlink(missing_ok=True)


def last_scores(scorer: Scorer, data_name: str) -> dict[str, Any]:
    """The last scores of a scorer, as a manifest holds them."""
    name = scored_in(f"{data_name}, {scorer.validation.name}", scorer.segmenter.runtime.identity.precision)
    entry = score_entry(scorer.counts, scorer.names)
    return {name: entry | {"conditions": conditions(scorer.segmenter, Options())}}


StartNetwork = Callable[[], tuple[FCN, list[str]]]
"""Gives the network before training, and the names of its new tensors."""


def save_result(net: FCN, manifest: Manifest, weights: TrainingWeights, start_network: StartNetwork) -> list[str]:
    """Saves the network that `weights.scorer` has scored last. Gives lines of text.

    If the start scores more, saves the start under that name, and the trained network beside it as `-trained`. The scorer then
    holds the scores of the file of that name.
    """
    bar, scorer, frames = weights.bar, weights.scorer, len(weights.scorer.counts)
    change = bar.against(scorer.counts) if bar else None
    if bar and change:
        against = change.to_dict(bar.names) | {"frames": frames}
        manifest = replace(manifest, training={**manifest.training, "against_start": against})
    manifest, trained_score = replace(manifest, scores=last_scores(scorer, weights.data_name)), scorer.matrix.mean_iou
    better_net = better_start(weights, change, start_network)
    weights.path("-trained").unlink(missing_ok=True)
    save_weights(weights.path("-trained" if better_net else ""), half_tensors(net), manifest)
    if bar and better_net:
        save_weights(weights.path(), half_tensors(better_net), _of_the_start(weights, bar.start, trained_score))
    if not bar or not change:
        return []
    line = comparison_line("the trained network", change, frames, bar.names)
    return [line, *_below_lines(weights, bar, trained_score if better_net else None)] if change.mean.value < 0 else [line]


def better_start(weights: TrainingWeights, change: Change | None, start_network: StartNetwork) -> FCN | None:
    """The start with the rows of the data's classes, if it scores more than the trained network; the scorer then has scored it.

    None also if the start does not know all classes by name, and if the trained network is not below it by `change`.
    """
    scorer = weights.scorer
    if not weights.bar or not weights.bar.is_complete or not change or change.mean.value >= 0:
        return None
    score, counts = scorer.matrix.mean_iou, scorer.counts
    start, _ = start_network()
    scorer(start)
    if scorer.matrix.mean_iou > score:
        return start
    scorer.counts = counts
    return None


def _below_lines(weights: TrainingWeights, bar: StartScore, trained_score: float | None) -> list[str]:
    """What follows for a network below its start. trained_score: of one that the start replaces."""
    if trained_score is not None:
        text = f"{weights.path()} holds the weights of the start, {weights.scorer.matrix.mean_iou:.4f} on val with the classes "
        text += f"of the data, {bar.interval.value:.4f} with its own; the trained network, {trained_score:.4f}, is "
        return [f"{text}{weights.path('-trained')}; {ADVICE}"]
    if bar.is_complete:
        return [f"{bar.start} scores more only because its classes that the data lacks count as background; {ADVICE}"]
    return [f"this is over the classes that the start knows; {ADVICE}"]


def _of_the_start(weights: TrainingWeights, start: str, trained_score: float) -> Manifest:
    """The manifest of the start's weights with the data's classes."""
    manifest = weights.manifest_at(Progress())
    note = f"The weights are those of {start}, untrained: after training, the mean IoU on val was {trained_score:.4f}, less."
    training = {**manifest.training, "notes": [*manifest.training["notes"], note]}
    return replace(manifest, training=training, scores=last_scores(weights.scorer, weights.data_name))


def export_weights(path: Path) -> None:
    """Writes the float32 export beside the master, or prints why it cannot; removes exports of an earlier master."""
    for stale in remove_stale(path):
        print(f"removed {stale}, an export of the file that was there before")
    if missing := missing_packages():
        print(f"not exported: {', '.join(missing)} missing: {install_command('train')}, then fcn-export --weights {path}")
        return
    try:
        print(f"wrote {export_float32(path)}")
    except ValueError as error:
        print(error)
