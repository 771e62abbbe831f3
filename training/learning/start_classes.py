"""Which classes of the data the start's classes show, by what the start says of the photographs of train."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model.inference.plan import Options
from model.networks.servable import load_network
from model.weights_file import Weights
from training.data.split import Split
from training.scoring.evaluate import predictions, snapshot_segmenter

MOST_FRAMES = 100


def count_answers(weights: Weights, train: Split, device: str) -> npt.NDArray[np.int64]:
    """The number of pixels of each class of the data (rows) of which the start says each of its classes (columns).

    They are counted on at most `MOST_FRAMES` frames, evenly over the split.
    """
    number = min(MOST_FRAMES, len(train.frames))
    frames = tuple(train.frames[index * len(train.frames) // number] for index in range(number))
    segmenter = snapshot_segmenter(load_network(weights), weights.manifest, device)
    counts = np.zeros((len(train.labels), len(weights.manifest.labels)), np.int64)
    for truth, class_map in predictions(segmenter, replace(train, frames=frames), Options()):
        is_labelled = truth < len(counts)
        np.add.at(counts, (truth[is_labelled], class_map[is_labelled]), 1)
    return counts
