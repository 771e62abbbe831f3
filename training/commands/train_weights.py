"""The weights files of `fcn-train`: of the last epoch and of the best one during the training, and of the result at its end.

The result is the start's weights if the training made them worse.
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
from training.scoring.evaluate import conditions
from training.scoring.intervals import score_entry

Kind = Literal["", "-last", "-best", "-trained"]
"""Empty: the result. `-trained`: the trained network, if the result is the start's weights."""
AFTER_EPOCHS: tuple[Kind, ...] = ("-last", "-best")  # written after each epoch; the second if the epoch is the best one so far
ADVICE = "label more photos, or train more gently: --set learning_rate=NUMBER below the plan's, or fewer --epochs"


@dataclass(frozen=True)
class TrainingWeights:
    """The weights files of one training in a folder. Writes `NAME-last.safetensors` and `NAME-best.safetensors`.

    manifest: without scores and progress. scorer: holds the scores of the network that it scored last. data_name: the name of
    val's data set in the scores. start_score: None unless the start is a weights file of ours that knows some of the classes.
    """

    folder: Path
    name: str
    manifest: Manifest
    scorer: Scorer
    data_name: str
    start_score: StartScore | None = None

    def path(self, kind: Kind = "") -> Path:
        """The path of the file of this kind, by default of the result."""
        return self.folder / f"{self.name}{kind}.safetensors"

    @property
    def trained_path(self) -> Path:
        """The path of the file with the trained network."""
        beside = self.path("-trained")
        return beside if beside.is_file() else self.path()

    def manifest_at(self, progress: Progress) -> Manifest:
        """The manifest with this progress, without scores."""
        return replace(self.manifest, training={**self.manifest.training, **progress.to_dict()})

    def save(self, net: FCN, progress: Progress, is_best: bool | None) -> None:
        """Writes the network after an epoch. is_best: whether its score is the best so far; None if the epoch has no score."""
        manifest, tensors = self.manifest_at(progress), half_tensors(net)
        if is_best is not None:
            manifest = replace(manifest, scores=last_scores(self.scorer, self.data_name))
        for kind in AFTER_EPOCHS if is_best else AFTER_EPOCHS[:1]:
            save_weights(self.path(kind), tensors, manifest)

    def remove_earlier(self) -> None:
        """Removes both files if the folder has no checkpoint: they are then of an earlier training."""
        if not (self.folder / CHECKPOINT).is_file():
            for kind in AFTER_EPOCHS:
                self.path(kind).unlink(missing_ok=True)


def last_scores(scorer: Scorer, data_name: str) -> dict[str, Any]:
    """The last scores of a scorer, as a manifest holds them."""
    name = scored_in(f"{data_name}, {scorer.validation.name}", scorer.segmenter.runtime.identity.precision)
    entry = score_entry(scorer.counts, scorer.names)
    return {name: entry | {"conditions": conditions(scorer.segmenter, Options())}}


StartNetwork = Callable[[], tuple[FCN, list[str]]]
"""Gives the start network: the network before its training, and the names of its new tensors."""


def save_result(net: FCN, manifest: Manifest, weights: TrainingWeights, start_network: StartNetwork) -> list[str]:
    """Saves the result of a training. Gives lines of text, which compare the trained network with the start.

    net: the trained network, which `weights.scorer` has scored last. manifest: of this network, without scores.

    The result is the trained network, unless it scores less than the start and the start knows all classes. Then the start
    network is scored, too: its score layers hold the start's rows for the data's classes. If it scores more than the trained
    network, it is the result, and the trained network is saved as `-trained`. At the end, the scorer holds the result's scores.
    """
    start_score, scorer, trained_score = weights.start_score, weights.scorer, weights.scorer.matrix.mean_iou
    manifest = replace(manifest, scores=last_scores(scorer, weights.data_name))
    if not start_score:
        weights.path("-trained").unlink(missing_ok=True)
        save_weights(weights.path(), half_tensors(net), manifest)
        return []
    change, frames = start_score.against(scorer.counts), len(scorer.counts)
    against = change.to_dict(start_score.names) | {"frames": frames}
    manifest = replace(manifest, training={**manifest.training, "against_start": against})
    is_below = change.mean.value < 0
    better_net = _better_start(scorer, start_network) if is_below and start_score.is_complete else None
    weights.path("-trained").unlink(missing_ok=True)
    save_weights(weights.path("-trained" if better_net else ""), half_tensors(net), manifest)
    if better_net:
        save_weights(weights.path(), half_tensors(better_net), _start_manifest(weights, start_score.start, trained_score))
    lines = [comparison_line("the trained network", change, frames, start_score.names)]
    return [*lines, _below_line(weights, start_score, trained_score if better_net else None)] if is_below else lines


def _better_start(scorer: Scorer, start_network: StartNetwork) -> FCN | None:
    """Scores the start network. Returns it if it scores more than the network that the scorer has scored last.

    Else returns None, and the scorer keeps the counts of that network.
    """
    last_score, last_counts = scorer.matrix.mean_iou, scorer.counts
    start, _ = start_network()
    scorer(start)
    if scorer.matrix.mean_iou > last_score:
        return start
    scorer.counts = last_counts
    return None


def _below_line(weights: TrainingWeights, start_score: StartScore, trained_score: float | None) -> str:
    """The line for a trained network that scores less than the start.

    trained_score: its score if the start network is the result, whose scores the scorer then holds; else None.
    """
    if trained_score is not None:
        text = f"{weights.path()} holds the weights of the start, {weights.scorer.matrix.mean_iou:.4f} on val with the classes "
        text += f"of the data, {start_score.interval.value:.4f} with its own; the trained network, {trained_score:.4f}, is "
        return f"{text}{weights.path('-trained')}; {ADVICE}"
    if start_score.is_complete:
        return f"{start_score.start} scores more only because its classes that the data lacks count as background; {ADVICE}"
    return f"this is over the classes that the start knows; {ADVICE}"


def _start_manifest(weights: TrainingWeights, start: str, trained_score: float) -> Manifest:
    """The manifest of the start network as the result, with the scorer's last scores. start: the name of the start."""
    manifest = weights.manifest_at(Progress())
    note = f"The weights are those of {start}, untrained: after training, the mean IoU on val was {trained_score:.4f}, less."
    training = {**manifest.training, "notes": [*manifest.training["notes"], note]}
    return replace(manifest, training=training, scores=last_scores(weights.scorer, weights.data_name))


def export_weights(path: Path) -> None:
    """Writes the float32 export beside the master (`path`), or prints why not. Removes the exports of an earlier master."""
    for stale in remove_stale(path):
        print(f"removed {stale}, an export of the file that was there before")
    if missing := missing_packages():
        print(f"not exported: {', '.join(missing)} missing: {install_command('train')}, then fcn-export --weights {path}")
        return
    try:
        print(f"wrote {export_float32(path)}")
    except ValueError as error:
        print(error)
