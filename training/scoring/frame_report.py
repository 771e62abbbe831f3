"""What `fcn-evaluate` writes besides the table: every frame's scores as JSON, and pictures of the worst."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.data.datasets import Split
from training.scoring.evaluate import ClassMap, summed
from training.scoring.intervals import Counts

GAP = 8  # pixels between the parts of a picture
HEIGHT = 480  # at most, of a picture
LONGEST_NAME = 240  # bytes of a frame's name in a picture's: file systems take 255


def frame_scores(counts: Counts, split: Split) -> list[dict[str, Any]]:
    """Each frame's name and scores, the worst mean IoU first; frames without labelled pixels come last."""
    rows: list[dict[str, Any]] = [
        {"name": frame.name, "image": str(frame.image)} | summed(matrix[None]).scores()
        for frame, matrix in zip(split.frames, counts, strict=True)
    ]
    return sorted(rows, key=lambda row: 2.0 if row["mean_iou"] is None else row["mean_iou"])


def write_json(path: Path, facts: Mapping[str, Any], counts: Counts, split: Split) -> None:
    """Writes these facts and each frame's scores."""
    document = {**facts, "classes": split.labels.names, "frames": frame_scores(counts, split)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def worst(counts: Counts, split: Split, number: int) -> list[int]:
    """The indices of so many frames of the worst mean IoU, the worst first."""
    means = [summed(matrix[None]).mean_iou for matrix in counts]
    order = sorted((mean, index) for index, mean in enumerate(means) if not np.isnan(mean))
    return [index for _, index in order[:number]]


def write_picture(folder: Path, rank: int, split: Split, index: int, found: ClassMap) -> Path:
    """Saves the photo, its label and the prediction side by side in the classes' colours; gives the file."""
    image, palette = split.image(index), np.asarray(split.labels.palette, np.uint8)
    height = min(HEIGHT, image.shape[0])
    size = max(1, round(image.shape[1] * height / image.shape[0])), height
    photo = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    maps = (Image.fromarray(palette[ids]).resize(size, Image.Resampling.NEAREST) for ids in (split.mask(index), found))
    gap = np.full((height, GAP, 3), 255, np.uint8)
    first, *others = (np.asarray(part) for part in (photo, *maps))
    picture = np.concatenate([first, *(piece for other in others for piece in (gap, other))], 1)
    folder.mkdir(parents=True, exist_ok=True)
    name = os.fsdecode(os.fsencode(split.frames[index].name.replace("/", "_"))[:LONGEST_NAME])
    path = folder / f"{rank:03d}-{name}.png"
    Image.fromarray(picture).save(path)
    return path
