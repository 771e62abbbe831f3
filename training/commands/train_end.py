"""The file that a training ends with: the trained network, or the start's weights where the training made them worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from model.manifest import Manifest
from model.networks.fcn import FCN
from model.networks.servable import half_tensors
from model.weights_file import save_weights
from training.commands.train_weights import TrainingWeights, scores
from training.learning.checkpoint import Progress
from training.learning.start_score import comparison_line

StartNetwork = Callable[[], tuple[FCN, list[str]]]
ADVICE = "label more photos, or train more gently: --set learning_rate=NUMBER below the plan's, or fewer --epochs"


def save_better(net: FCN, manifest: Manifest, weights: TrainingWeights, start_network: StartNetwork) -> list[str]:
    """Saves the network that `weights.scorer` has scored last, or the start's if it scores more; gives lines of text.

    The start's weights are kept only if the start knows all classes by name, if the trained network is below it on val, and if
    its rows of these classes score more than the trained network. The trained one is then saved as `weights.beside`; the
    scorer then holds the start's scores. start_network: gives the network before training.
    """
    scorer, bar = weights.scorer, weights.bar
    weights.beside.unlink(missing_ok=True)
    lines: list[str] = []
    is_below = False
    if bar and scorer.counts is not None:
        change = bar.against(scorer.counts)
        against = {"mean_iou": round(change.value, 6), "mean_iou_95": change.rounded(), "frames": len(scorer.counts)}
        manifest = replace(manifest, training={**manifest.training, "against_start": against})
        lines.append(comparison_line("the trained network", change, len(scorer.counts)))
        is_below = change.value < 0
    trained_manifest = replace(manifest, scores=scores(scorer, weights.data_name))
    if bar and is_below and bar.is_complete:
        score, counts = weights.mean_iou, scorer.counts
        start, _ = start_network()
        scorer(start)
        if weights.mean_iou > score:
            save_weights(weights.beside, half_tensors(net), trained_manifest)
            save_weights(weights.final, half_tensors(start), _of_the_start(weights, bar.start, score))
            text = f"{weights.final} holds the weights of the start, {weights.mean_iou:.4f} on val; the trained network, "
            return [*lines, f"{text}{score:.4f}, is {weights.beside}; {ADVICE}"]
        scorer.counts = counts
        lines.append(f"{bar.start} scores more by the classes that the data lacks, which count as background; {ADVICE}")
    elif is_below:
        lines.append(f"this is over the classes that the start knows; {ADVICE}")
    save_weights(weights.final, half_tensors(net), trained_manifest)
    return lines


def _of_the_start(weights: TrainingWeights, start: str, trained_score: float) -> Manifest:
    """The manifest of the start's weights with the data's classes."""
    manifest = weights.manifest(Progress())
    note = f"The weights are those of {start}, untrained: after training, the mean IoU on val was {trained_score:.4f}, less."
    training = {**manifest.training, "notes": [*manifest.training["notes"], note]}
    return replace(manifest, training=training, scores=scores(weights.scorer, weights.data_name))
