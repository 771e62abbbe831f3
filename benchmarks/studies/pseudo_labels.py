"""Pseudo-labels: a small data set grows by photographs whose masks a network gives (Lee 2013)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.labels import LabelSet
from training.data.class_mapping import parse_class_mapping

CONFIDENCE = 0.9  # pixels below it are void
OPTIONS = Options(quality="high", rendering=Rendering("confidence"))


def add_to_voc(folder: Path, names: Sequence[str], voc: Path, segmenter: Segmenter, labels: LabelSet, class_map: str) -> None:
    """Adds photographs of `voc` with pseudo-labels to the train split of a set in VOC's layout, whose folders are links.

    labels: VOC's classes. class_map: from them to those of the segmenter.
    """
    masks = folder / "SegmentationClass"
    masks.unlink()
    masks.mkdir()
    lists = folder / "ImageSets" / "Segmentation"
    for split in ("train", "val"):
        for name in (lists / f"{split}.txt").read_text().split():
            shutil.copy(voc / "SegmentationClass" / f"{name}.png", masks)
    for name in names:
        (photo,) = (voc / "JPEGImages").glob(f"{name}.*")
        write_mask(photo, masks / f"{name}.png", segmenter, labels, class_map)
    with (lists / "train.txt").open("a") as file:
        file.writelines(f"{name}\n" for name in names)


def add_to_camvid(folder: Path, photos: Sequence[Path], segmenter: Segmenter, labels: LabelSet, class_map: str) -> None:
    """Adds photographs with pseudo-labels to the train split of a set in CamVid's layout."""
    for photo in photos:
        (folder / "train" / photo.name).symlink_to(photo.resolve())
        write_mask(photo, folder / "trainannot" / f"{photo.stem}.png", segmenter, labels, class_map)


def write_mask(photo: Path, mask: Path, segmenter: Segmenter, labels: LabelSet, class_map: str) -> None:
    """Writes a mask of the photograph, with ids of `labels`, and void where the confidence is below `CONFIDENCE`."""
    segmentation = segmenter(photo, OPTIONS)
    assert segmentation.confidence is not None
    ids = source_ids(labels, class_map)[segmentation.class_map]
    ids[segmentation.confidence < CONFIDENCE * 255] = labels.ignore_index
    Image.fromarray(ids).save(mask)


def source_ids(labels: LabelSet, class_map: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """For each target of a class mapping, the lowest id that is mapped to it, uint8; all ids without a mapping."""
    if not class_map:
        return np.arange(len(labels), dtype=np.uint8)
    mapping = parse_class_mapping(class_map, labels)
    table = mapping.table[: len(labels)].tolist()
    return np.array([table.index(target) for target in range(len(mapping.labels))], np.uint8)
