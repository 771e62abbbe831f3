"""Rare classes of a data set, and the frames that show them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from training.survey.records import Survey


def rare_classes(class_pixels: npt.NDArray[np.int64]) -> list[int]:
    """The ids of the classes that have fewer pixels than the median class; classes without pixels count for nothing.

    class_pixels: int64 (classes,).
    """
    counts = class_pixels[class_pixels > 0]
    return np.flatnonzero((class_pixels > 0) & (class_pixels < np.median(counts))).tolist() if len(counts) else []


def rare_line(survey: Survey, share: float) -> str:
    """A line of text that names the rare classes of a data set. share: of the crops that show one."""
    names = [survey.split.labels.names[class_id] for class_id in rare_classes(survey.class_pixels.sum(0))]
    if not names:
        return f"no class is rarer than the others, so rare_share={share} has no effect"
    return f"rare_share: {share:.0%} of the crops show a pixel of a rare class: {', '.join(names)}"


class RareFrames:
    """Draws frames that show rare classes, each class as often as the others (after Isensee et al. 2021).

    Random numbers are of torch's global generator.
    """

    def __init__(self, survey: Survey) -> None:
        class_pixels = survey.class_pixels
        self._frames = [(c, class_pixels[:, c].nonzero()[0].tolist()) for c in rare_classes(class_pixels.sum(0))]

    def __len__(self) -> int:
        """The number of rare classes."""
        return len(self._frames)

    def draw(self) -> tuple[int, int]:
        """A rare class's id, and the index of a frame that shows it."""
        class_id, frames = self._frames[int(torch.randint(len(self._frames), ()))]
        return class_id, frames[int(torch.randint(len(frames), ()))]
