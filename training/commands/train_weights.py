"""The weights files that `fcn-train` writes while it trains: the last epoch's, the best one's, and the final one.

The final one holds the start's weights where the training made them worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from model.command_line import install_command
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
from training.scoring.intervals import score_facts

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
        return replace(self.manifest, training={**self.manifest.training, **progress.facts()})

    def save(self, net: FCN, progress: Progress, is_best: bool | None) -> None:
        """Writes the network after an epoch. is_best: whether its score is the best so far; None for an epoch without one."""
        manifest, tensors = self.manifest_at(progress), half_tensors(net)
        if is_best is not None:
            manifest = replace(manifest, scores=scores(self.scorer, self.data_name))
        for kind in KEPT if is_best else KEPT[:1]:
            save_weights(self.path(kind), tensors, manifest)

    def remove_earlier(self) -> None:
        """Removes both files if the folder has no checkpoint: they are of another training."""
        if not (self.folder / CHECKPOINT).is_file():
            for kind in KEPT:
                self.path(kind).unlink(missing_ok=True)


def scores(scorer: Scorer, data_name: str) -> dict[str, Any]:
    """The last scores of a scorer, as a manifest holds them."""
    name = scored_in(f"{data_name}, {scorer.validation.name}", scorer.segmenter.runtime.identity.precision)
    facts = score_facts(scorer.counts, scorer.names)
    return {name: facts | {"conditions": conditions(scorer.segmenter, Options())}}


def save_better(
    net: FCN, manifest: Manifest, weights: TrainingWeights, start_network: Callable[[], tuple[FCN, list[str]]]
) -> list[str]:
    """Saves the trained network, or the start where it scores more, as the file of the training; gives lines of text.

    `weights.scorer` has scored the trained network last; afterwards it holds the scores of the network in the file. The start
    is chosen only if it knows all classes by name, if the trained network is below it on val, and if its rows of these classes
    score more. The trained network is then `-trained`. start_network: gives the network before training.
    """
    scorer, bar = weights.scorer, weights.bar
    weights.path("-trained").unlink(missing_ok=True)
    lines, is_below = list[str](), False
    if bar:
        change = bar.against(scorer.counts)
        against = {**change.facts(bar.names), "frames": len(scorer.counts)}
        manifest = replace(manifest, training={**manifest.training, "against_start": against})
        lines.append(comparison_line("the trained network", change, len(scorer.counts), bar.names))
        is_below = change.mean.value < 0
    manifest, trained_score = replace(manifest, scores=scores(scorer, weights.data_name)), scorer.matrix.mean_iou
    start = _better_start(scorer, start_network) if bar and is_below and bar.is_complete else None
    save_weights(weights.path("-trained" if start else ""), half_tensors(net), manifest)
    if bar and start:
        save_weights(weights.path(), half_tensors(start), _of_the_start(weights, bar.start, trained_score))
        start_score, path = scorer.matrix.mean_iou, weights.path("-trained")
        text = f"{weights.path()} holds the weights of the start, {start_score:.4f} on val with the classes of the data, "
        text += f"{bar.interval.value:.4f} with its own; the trained network, {trained_score:.4f}, is {path}"
        lines.append(f"{text}; {ADVICE}")
    elif bar and is_below and bar.is_complete:
        lines.append(f"{bar.start} scores more by the classes that the data lacks, which count as background; {ADVICE}")
    elif is_below:
        lines.append(f"this is over the classes that the start knows; {ADVICE}")
    return lines


def _better_start(scorer: Scorer, start_network: Callable[[], tuple[FCN, list[str]]]) -> FCN | None:
    """The start, if it scores more than the network that the scorer has scored last, and the scorer then holds its scores."""
    counts, score = scorer.counts, scorer.matrix.mean_iou
    start, _ = start_network()
    scorer(start)
    if scorer.matrix.mean_iou > score:
        return start
    scorer.counts = counts
    return None


def _of_the_start(weights: TrainingWeights, start: str, trained_score: float) -> Manifest:
    """The manifest of the start's weights with the data's classes."""
    manifest = weights.manifest_at(Progress())
    note = f"The weights are those of {start}, untrained: after training, the mean IoU on val was {trained_score:.4f}, less."
    training = {**manifest.training, "notes": [*manifest.training["notes"], note]}
    return replace(manifest, training=training, scores=scores(weights.scorer, weights.data_name))


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
