"""Files that `fcn-evaluate` writes besides the table: every frame's scores as JSON, and pictures of the worst frames."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.arrays import Ids
from common.whole_file import whole_file, write_file
from training.data.split import Split
from training.scoring.metrics import ConfusionMatrix, Counts

GAP = 8  # pixels between the parts of a picture
HEIGHT = 480  # greatest height of a picture, in pixels
LONGEST_NAME = 240  # bytes of a frame's name that a picture's file name keeps; file systems allow 255 in all


def frame_scores(counts: Counts, split: Split) -> list[dict[str, Any]]:
    """Each frame's name and scores, sorted by mean IoU, worst first; frames without labelled pixels come last."""
    rows: list[dict[str, Any]] = [
        {"name": frame.name, "image": str(frame.image)} | ConfusionMatrix(matrix).scores()
        for frame, matrix in zip(split.frames, counts, strict=True)
    ]
    return sorted(rows, key=lambda row: 2.0 if row["mean_iou"] is None else row["mean_iou"])


def write_json(path: Path, entries: Mapping[str, Any], classes: Sequence[str], counts: Counts, split: Split) -> None:
    """Writes a JSON file of these entries, the classes, and each frame's scores; creates its folder."""
    document = {**entries, "classes": classes, "frames": frame_scores(counts, split)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(document, indent=1) + "\n")


def worst(counts: Counts, split: Split, number: int) -> list[int]:
    """The indices of the `number` frames with the lowest mean IoU, worst first; frames without labelled pixels are left out."""
    means = [ConfusionMatrix(matrix).mean_iou for matrix in counts]
    order = sorted((mean, index) for index, mean in enumerate(means) if not np.isnan(mean))
    return [index for _, index in order[:number]]


def write_picture(folder: Path, rank: int, split: Split, index: int, prediction: Ids) -> Path:
    """Saves the photo, its label and the prediction side by side; gives the file's path.

    Label and prediction are drawn in the classes' colours.
    """
    image, palette = np.ascontiguousarray(split.image(index)[..., :3]), np.asarray(split.labels.palette, np.uint8)
    height = min(HEIGHT, image.shape[0])
    size = max(1, round(image.shape[1] * height / image.shape[0])), height
    photo = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    maps = (Image.fromarray(palette[ids]).resize(size, Image.Resampling.NEAREST) for ids in (split.mask(index), prediction))
    picture = Image.new("RGB", (3 * size[0] + 2 * GAP, height), "white")
    for number, part in enumerate((photo, *maps)):
        picture.paste(part, (number * (size[0] + GAP), 0))
    folder.mkdir(parents=True, exist_ok=True)
    name = os.fsdecode(os.fsencode(split.frames[index].name.replace("/", "_"))[:LONGEST_NAME])
    path = folder / f"{rank:03d}-{name}.png"
    with whole_file(path) as partial:
        picture.save(partial, "PNG")
    return path
