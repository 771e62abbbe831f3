"""Small data sets in both layouts, and what a survey remarks on one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.palette import Color
from model.labels import LabelSet, numbered_labels, voc_labels
from tests.support.classes import NAMES
from training.data.class_mapping import parse_class_mapping
from training.data.layouts import Frame, list_frames
from training.data.problems import raise_all
from training.data.split import get_split
from training.survey.inspection import notes
from training.survey.records import Survey, survey_all

Ids = npt.NDArray[np.uint8]
Pictures = Mapping[str, Ids]
FOUR = numbered_labels(NAMES)
IDS = np.array([[0, 1, 1], [2, 3, 255]], np.uint8)
"""A mask that shows the four classes and void."""


def write_frame(image: Path, mask: Path, ids: Ids, pixels: Ids | None = None) -> None:
    """One labelled image; grey pixels of 60 x id where none are given."""
    colors = np.dstack([ids.astype(np.int64) * 60 % 256] * 3).astype(np.uint8) if pixels is None else pixels
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colors).save(image)
    Image.fromarray(ids).save(mask)


def in_palette(ids: Ids, palette: Sequence[Color] = voc_labels().palette) -> Image.Image:
    """A mask of these ids with a palette, by default VOC's."""
    image = Image.fromarray(np.ascontiguousarray(ids))
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    return image


def write_noise(root: Path, masks: Mapping[str, Ids]) -> Path:
    """A folder of `images/` and `masks/` whose split train has these masks, with photos of noise; gives the root."""
    for seed, (name, ids) in enumerate(masks.items()):
        noise = np.random.default_rng(seed).integers(0, 256, (*ids.shape, 3), dtype=np.uint8)
        write_frame(root / "images" / f"{name}.png", root / "masks" / f"{name}.png", ids, noise)
    (root / "train.txt").write_text("".join(f"{name}\n" for name in masks))
    return root


def add_frame(root: Path, name: str, image: Image.Image, ids: Ids) -> None:
    """Adds a JPEG and its mask to a folder of `images/` and `masks/`, and its name to the list of train."""
    for folder in (root / "images", root / "masks"):
        folder.mkdir(exist_ok=True)
    image.save(root / "images" / f"{name}.jpg")
    write_mask(root, name, ids)
    with (root / "train.txt").open("a") as names:
        names.write(f"{name}\n")


def write_mask(root: Path, name: str, ids: Ids) -> None:
    """Writes or replaces a mask of a folder of `images/` and `masks/`."""
    Image.fromarray(ids).save(root / "masks" / f"{name}.png")


def write_voc(root: Path, frames: dict[str, Ids], split: str = "train") -> Path:
    """A VOC2012 folder; gives the root."""
    for name, ids in frames.items():
        write_frame(root / "JPEGImages" / f"{name}.png", root / "SegmentationClass" / f"{name}.png", ids)
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in frames))
    return root


def write_camvid(root: Path, frames: dict[str, Ids], split: str = "train") -> Path:
    """A CamVid folder in the SegNet tutorial's layout; gives the root."""
    for name, ids in frames.items():
        write_frame(root / split / f"{name}.png", root / f"{split}annot" / f"{name}.png", ids)
    return root


def find_frames(root: Path, split: str) -> list[Frame]:
    """The frames of a split, in any known layout; raises `DataError` naming every missing file."""
    listing = list_frames(root, split)
    raise_all(listing.missing)
    return listing.frames


def with_masks(survey: Survey, folder: Path, masks: Pictures, photos: Pictures) -> Survey:
    """The survey with other masks of these names and other photos of some of them, which are written into the folder.

    The other frames are not read again.
    """
    frames = []
    for frame in survey.split.frames:
        if frame.name in masks:
            mask, image = folder / f"{frame.name}.png", frame.image
            Image.fromarray(masks[frame.name]).save(mask)
            if frame.name in photos:
                image = folder / f"{frame.name}-photo.png"
                Image.fromarray(photos[frame.name]).save(image)
            frame = replace(frame, image=image, mask=mask)
        frames.append(frame)
    changed = [frame for frame in frames if frame.name in masks]
    (read,) = survey_all([replace(survey.split, frames=tuple(changed))], details=True)
    records = {frame.name: record for frame, record in (*survey.frames, *read.frames)}
    return Survey(replace(survey.split, frames=tuple(frames)), tuple(records[frame.name] for frame in frames))


def remarks(root: Path, labels: LabelSet, changes: str = "") -> list[str]:
    """The remarks on the split train of a folder of `images/` and `masks/`, with the names of files alone.

    What is surveyed is kept in the folder, so that a second call reads changed files alone.
    changes: of the classes, as `--class-map` takes them.
    """
    mapping = parse_class_mapping(changes, labels) if changes else None
    (survey,) = survey_all([get_split(root, "train", labels, mapping)], details=True, file=root / "survey.json")
    return [note.replace(f"{root}/masks/", "").replace(f"{root}/images/", "") for note in notes(survey)]
