"""The weights files that `fcn-train` writes while it trains: the last scored epoch's, and the best one's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.inference.plan import Options
from model.manifest import Manifest, scored_in
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import load_weights, save_weights
from training.learning.checkpoint import FILE as CHECKPOINT
from training.learning.checkpoint import Progress, load_checkpoint_network
from training.learning.start_score import StartScore
from training.learning.validation import Scorer
from training.scoring.evaluate import conditions
from training.scoring.intervals import mean_iou_interval
from training.scoring.trust import score_facts


@dataclass(frozen=True)
class TrainingWeights:
    """Writes `NAME-last.safetensors` and `NAME-best.safetensors` in a folder.

    manifest: gives the manifest at a progress. scorer: holds the last scores. data_name: of val's data set, in the scores.
    bar: the start's score, if the start is a weights file of ours that knows some of the classes.
    """

    folder: Path
    name: str
    manifest: Callable[[Progress], Manifest]
    scorer: Scorer
    data_name: str
    bar: StartScore | None = None

    @property
    def final(self) -> Path:
        """The file that the training ends with."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def beside(self) -> Path:
        """The trained network's file, where the start's weights are kept as `final`."""
        return self.folder / f"{self.name}-trained.safetensors"

    @property
    def trained(self) -> Path:
        """The file of the trained network."""
        return self.beside if self.beside.is_file() else self.final

    @property
    def mean_iou(self) -> float:
        """The last scored network's."""
        return self.scorer.matrix.mean_iou

    @property
    def last(self) -> Path:
        return self.folder / f"{self.name}-last.safetensors"

    @property
    def best(self) -> Path:
        return self.folder / f"{self.name}-best.safetensors"

    def save(self, net: FCN, progress: Progress, is_best: bool) -> None:
        """Writes the network that the scorer has scored last."""
        manifest = replace(self.manifest(progress), scores=scores(self.scorer, self.data_name))
        tensors = half_tensors(net)
        for path in (self.last, self.best) if is_best else (self.last,):
            save_weights(path, tensors, manifest)

    def save_checkpoint(self) -> None:
        """Writes the checkpoint's network as the last one, if no scored file of that epoch is there; without scores.

        Does nothing without a checkpoint that holds a network.
        """
        with suppress(ValueError, OSError):
            net, manifest = load_checkpoint_network(self.folder / CHECKPOINT)
            if not self.last.is_file() or load_weights(self.last).manifest.training["epochs"] != manifest.training["epochs"]:
                save_weights(self.last, half_tensors(net), manifest)

    def remove_earlier(self) -> None:
        """Removes both files if the folder has no checkpoint: they are of another training."""
        if not (self.folder / CHECKPOINT).is_file():
            for path in (self.last, self.best):
                path.unlink(missing_ok=True)


def scores(scorer: Scorer, data_name: str) -> dict[str, Any]:
    """The last scores of a scorer, as a manifest holds them."""
    counts, segmenter, validation = scorer.counts, scorer.segmenter, scorer.validation
    assert counts is not None
    assert segmenter is not None
    name = scored_in(f"{data_name}, {validation.name}", segmenter.runtime.identity.precision)
    facts = score_facts(counts, mean_iou_interval(counts), validation.labels.names)
    return {name: facts | {"conditions": conditions(segmenter, Options())}}
