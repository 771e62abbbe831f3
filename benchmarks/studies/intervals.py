"""How often the paired bootstrap interval of a difference holds the true one, in simulated val sets.

The method: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 12 and 13. Two networks of the same quality: in
each frame, each finds a random share of each class (beta distribution), and mistakes the rest for the background. So the true
difference of their mean IoU is 0. Each val set has `FRAMES` frames, of which `rare` show the rarest of five classes. Prints JSON:
for each `rare`, the share of val sets whose 95% interval holds 0.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from training.scoring.intervals import Counts, difference_intervals

FRAMES, SETS, CLASSES = 60, 400, 5
RARE = (1, 2, 3, 5, 10, 20, 40)
SHOWN = 0.7  # share of the frames that show each of the other classes
MEAN, SPREAD = 0.75, 2.0  # of the share of a class that a network finds: mean, and a + b of the beta distribution


def val_set(rng: np.random.Generator, rare: int) -> tuple[Counts, Counts]:
    """The confusion matrices (F, n, n) of both networks on the same frames."""
    counts = np.zeros((2, FRAMES, CLASSES, CLASSES), np.int64)
    shown = rng.random((FRAMES, CLASSES)) < SHOWN
    shown[:, 0], shown[:, -1] = True, False
    shown[rng.choice(FRAMES, rare, replace=False), -1] = True
    pixels = (rng.lognormal(9, 1, (FRAMES, CLASSES)) * shown).astype(np.int64)
    hardness = rng.random((FRAMES, CLASSES))  # of a frame, for both
    for matrices in counts:
        share = (rng.beta(MEAN * SPREAD, (1 - MEAN) * SPREAD, (FRAMES, CLASSES)) + hardness) / 2
        hits = (pixels * share).astype(np.int64)
        for class_id in range(CLASSES):
            matrices[:, class_id, class_id] += hits[:, class_id]
            matrices[:, class_id, (class_id + 1) % CLASSES if class_id == 0 else 0] += (pixels - hits)[:, class_id]
    return counts[0], counts[1]


def coverage(rare: int) -> float:
    """The share of the val sets whose interval of the difference of the mean IoU holds 0."""
    rng = np.random.default_rng(rare)
    return sum(not difference_intervals(*val_set(rng, rare))[-1].excludes_zero for _ in range(SETS)) / SETS


if __name__ == "__main__":
    settings = {"frames": FRAMES, "val sets": SETS, "classes": CLASSES, "seed": "the number of frames"}
    json.dump(
        {"settings": settings, "coverage by frames of the rarest class": {rare: coverage(rare) for rare in RARE}}, sys.stdout
    )
