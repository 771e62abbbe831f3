"""Checkpoints: the state from which a stopped training resumes exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from common.printable import first_line
from common.whole_file import whole_file

FILE = "checkpoint.pt"
# torch.load raises these for a file that is damaged or holds objects other than tensors
UNREADABLE = (RuntimeError, UnpicklingError, LookupError, EOFError, AttributeError, TypeError, ValueError)


@dataclass
class Progress:
    """How far a training has come.

    epoch: finished epochs. step: optimiser steps, skipped ones included. seconds: time spent in training epochs.
    skipped: steps without an update, because a gradient was not finite.
    went_on_from: the numbers of finished epochs at which the training was resumed with more epochs in its recipe.
    best_epoch, best_score: the first epoch with the highest mean IoU on val, and that mean IoU; 0 and None before a score.
    scored_epoch: the last epoch that was scored; 0 before.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    went_on_from: list[int] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float | None = None
    scored_epoch: int = 0

    def take_score(self, score: float) -> bool:
        """Takes the mean IoU of the last finished epoch; gives whether it is the highest so far."""
        self.scored_epoch = self.epoch
        is_best = self.best_score is None or score > self.best_score
        if is_best:
            self.best_epoch, self.best_score = self.epoch, score
        return is_best

    def to_dict(self) -> dict[str, Any]:
        """The progress as a weights file stores it."""
        return {
            "epochs": self.epoch,
            "best_epoch": self.best_epoch,
            "steps": self.step,
            "skipped_steps": self.skipped,
            "went_on_from_epochs": list(self.went_on_from),
            "hours": round(self.seconds / 3600, 3),
        }

    def lacks_gain(self, epochs: int) -> bool:
        """Whether the last scored epoch came at least this number of epochs after the best one; False for 0."""
        return 0 < epochs <= self.scored_epoch - self.best_epoch


def save_checkpoint(folder: Path, progress: Progress, states: dict[str, Any], identity: dict[str, Any]) -> None:
    """Writes the checkpoint atomically: if the process is killed, the previous checkpoint stays. Raises `OSError`.

    identity: what the training is; it resumes from this checkpoint only if they are the same.
    """
    content = {"progress": vars(progress), "states": states, "identity": identity}
    with whole_file(folder / FILE) as partial, partial.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # what torch says of a file that could not be written to its end
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_checkpoint(folder: Path, identity: dict[str, Any]) -> tuple[Progress, dict[str, Any]] | None:
    """Loads the progress and the states from the folder's checkpoint; None if there is no checkpoint.

    A checkpoint of a training that differs only in having fewer epochs is accepted, and `went_on_from` notes it. Raises
    `ValueError`, naming the file, for a damaged file, a file of another program, such as a network's state dict, and a
    checkpoint with other `identity`.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint of fcn-train: {first_line(error)}; remove it to begin again"
        ) from error
    try:
        progress, states = Progress(**content["progress"]), dict(content["states"])
        saved_identity = dict(content["identity"])
        epochs, saved_epochs = (int(each["recipe"]["epochs"]) for each in (identity, saved_identity))
    except (LookupError, TypeError, ValueError) as error:
        names = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(
            f"{path} is no checkpoint of fcn-train, which holds progress, states and identity; it holds {names}: "
            "give another --out, or remove it; to begin from a network's weights, give --start FILE"
        ) from error
    if epochs > saved_epochs:
        progress.went_on_from.append(progress.epoch)
        saved_identity = saved_identity | {"recipe": saved_identity["recipe"] | {"epochs": epochs}}
    if other_names := sorted(name for name in identity if saved_identity.get(name) != identity[name]):
        before = saved_identity.get("recipe", {})
        changes = [f"{name} ({before.get(name)}, now {v})" for name, v in identity["recipe"].items() if before.get(name) != v]
        differences = ", ".join(f"recipe: {', '.join(changes)}" if name == "recipe" else name for name in other_names)
        raise ValueError(f"{path} belongs to a training with another {differences}; give another --out or remove it")
    return progress, states


def saved_recipe(folder: Path) -> Mapping[str, Any]:
    """The recipe's values in the folder's checkpoint; empty without a checkpoint that can be read."""
    try:
        return dict(torch.load(folder / FILE, map_location="cpu", weights_only=True, mmap=True)["identity"]["recipe"])
    except (OSError, *UNREADABLE):
        return {}
