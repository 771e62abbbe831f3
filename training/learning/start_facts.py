"""What is known of a training's start before it is loaded: its side, its classes and its batch norms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from model.labels import LabelSet
from model.manifest import Manifest
from model.networks.builder import build_network
from training.learning.recipe import Recipe
from training.learning.score_rows import NEW, match_lines, match_rows
from training.learning.starts import start_preprocessing, start_weights


@dataclass(frozen=True)
class StartFacts:
    """side: the range of the longer side, in pixels, that the start's weights advise. rows: for each class of the data, a row
    of the start's score layers, or `NEW`; empty if the start's classes have no names. has_batch_norm: whether the network has
    batch norms, and the start holds the statistics of all of them. manifest: of a weights file of ours. lines: what the
    start knows of the classes.
    """

    side: tuple[int, int]
    rows: tuple[int, ...] = ()
    has_batch_norm: bool = False
    manifest: Manifest | None = None
    lines: tuple[str, ...] = ()

    @property
    def known_share(self) -> float:
        """The share of the data's classes that the start knows by name."""
        return sum(row != NEW for row in self.rows) / len(self.rows) if self.rows else 0.0


def start_facts(recipe: Recipe, start: str, labels: LabelSet) -> StartFacts:
    """The facts of a start for a training of these classes. Raises `ValueError` for a start that is not there."""
    side, weights = start_preprocessing(recipe.backbone, start).side, start_weights(start)
    manifest = weights.manifest if weights else None
    rows, lines = recipe.start_rows, list[str]()
    if manifest and "start_rows" not in recipe.model_fields_set:
        rows = match_rows(labels.names, manifest.labels.names)
        lines = match_lines(labels.names, manifest.labels.names, rows)
    return StartFacts(side, rows, _has_batch_norm(recipe, start, manifest), manifest, tuple(lines))


def with_rows(recipe: Recipe, facts: StartFacts) -> Recipe:
    """The recipe with the start's rows, if it does not state them."""
    return recipe.model_copy(update={"start_rows": facts.rows}) if facts.rows else recipe


def _has_batch_norm(recipe: Recipe, start: str, manifest: Manifest | None) -> bool:
    with torch.device("meta"):
        net = build_network(recipe.architecture(1))
    statistics = [name for name in net.state_dict() if name.endswith("running_mean")]
    if start == "none" or not statistics:
        return False
    if manifest and replace(manifest.fcn, num_classes=1) == net.architecture:
        return True
    return all(name.startswith("backbone.") for name in statistics)
