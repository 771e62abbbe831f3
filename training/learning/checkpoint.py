"""Checkpoints: all that a training needs to go on as if it had not been stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

FILE = "checkpoint.pt"
# what torch.load raises of a file that is damaged, or holds more than tensors
UNREADABLE = (RuntimeError, UnpicklingError, LookupError, EOFError, AttributeError, TypeError, ValueError)


@dataclass
class Progress:
    """Where a training stands: whole epochs done, optimiser steps, those skipped for an infinite gradient, seconds spent.

    went_on_from: the epochs after which it went on with more of them in its recipe than before.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    went_on_from: list[int] = field(default_factory=list)


def save_checkpoint(folder: Path, progress: Progress, states: dict[str, Any], identity: dict[str, Any]) -> None:
    """Writes the checkpoint atomically: a kill leaves the former one."""
    partial = folder / f"{FILE}.part"
    torch.save({"progress": vars(progress), "states": states, "identity": identity}, partial)
    partial.replace(folder / FILE)


def load_checkpoint(folder: Path, identity: dict[str, Any]) -> tuple[Progress, dict[str, Any]] | None:
    """The checkpoint in the folder, None without one; raises `ValueError` where it is of another training.

    A training of fewer epochs, alike but for that, is gone on from. A file of another program, such as a network's plain
    state, is refused by its name.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint of fcn-train: {first_line(error)}; remove it to begin anew"
        ) from error
    try:
        progress, theirs, states = Progress(**content["progress"]), dict(content["identity"]), dict(content["states"])
        asked, before = (int(facts["recipe"]["epochs"]) for facts in (identity, theirs))
    except (LookupError, TypeError, ValueError) as error:
        names = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(
            f"{path} is no checkpoint of fcn-train, which has progress, states and identity; it holds {names}: "
            "give another --out, or remove it; a network's state is a start: --start FILE"
        ) from error
    if asked > before:
        progress.went_on_from.append(progress.epoch)
        theirs = theirs | {"recipe": theirs["recipe"] | {"epochs": asked}}
    if different := sorted(k for k in identity if theirs.get(k) != identity[k]):
        told = ", ".join(_changed(theirs.get("recipe", {}), identity["recipe"]) if k == "recipe" else k for k in different)
        raise ValueError(f"{path} is of a training with other {told}; give another --out or remove it")
    return progress, states


def first_line(error: Exception) -> str:
    """The first line of what an error says; torch's go on with advice."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of a recipe is other than before, with both values."""
    changes = [f"{name} ({before.get(name)}, now {value})" for name, value in now.items() if before.get(name) != value]
    return f"recipe: {', '.join(changes)}"
