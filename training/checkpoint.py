"""Checkpoints: all that a training needs to go on as if it had not been stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

FILE = "checkpoint.pt"


@dataclass
class Progress:
    """Where a training stands: whole epochs done, optimiser steps, those skipped for an infinite gradient, seconds spent."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    skipped: int = 0


def save_checkpoint(folder: Path, progress: Progress, states: dict[str, Any], identity: dict[str, Any]) -> None:
    """Writes the checkpoint atomically: a kill leaves the former one."""
    partial = folder / f"{FILE}.part"
    torch.save({"progress": vars(progress), "states": states, "identity": identity}, partial)
    partial.replace(folder / FILE)


def load_checkpoint(folder: Path, identity: dict[str, Any]) -> tuple[Progress, dict[str, Any]] | None:
    """The checkpoint in the folder, None without one; raises `ValueError` where it is of another training."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, KeyError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}; remove it to begin anew") from error
    if different := sorted(k for k in identity if content["identity"].get(k) != identity[k]):
        raise ValueError(f"{path} is of a training with other {different}; give another --out or remove it")
    return Progress(**content["progress"]), content["states"]
