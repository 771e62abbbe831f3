"""Labelled images on disk, in the layouts of VOCdevkit and of the SegNet tutorial's CamVid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.decoding import Limits, decode, read_size
from model.labels import LabelSet, camvid_labels, voc_labels
from training.class_mapping import ClassMapping, identity

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class DataError(ValueError):
    """A data set that is not laid out as expected, or a mask that does not fit its image or label set."""


@dataclass(frozen=True)
class Frame:
    """One labelled image: its name in the list, and its files."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Split:
    """Frames of one split, and what their masks' ids mean after `mapping`."""

    name: str
    frames: tuple[Frame, ...]
    mapping: ClassMapping
    source_labels: LabelSet

    @property
    def labels(self) -> LabelSet:
        return self.mapping.labels

    @property
    def digest(self) -> str:
        """Sha256 of the frame names in order: tells whether two runs used the same list."""
        return hashlib.sha256("\n".join(frame.name for frame in self.frames).encode()).hexdigest()

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image as uint8 RGB (H, W, 3)."""
        return decode(self.frames[index].image.read_bytes(), Limits())

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The mask as uint8 ids (H, W) after the mapping; raises `DataError` naming the file."""
        frame = self.frames[index]
        with Image.open(frame.mask) as mask:
            if mask.mode not in ("L", "P"):
                raise DataError(f"{frame.mask}: a mask must be an 8-bit grey or palette image, got mode {mask.mode}")
            ids = np.asarray(mask)
        if ids.shape != (size := read_size(frame.image.read_bytes(), Limits())):
            raise DataError(f"{frame.mask}: the mask is {ids.shape}, its image {size}; both need one size")
        allowed = {*range(len(self.source_labels)), self.source_labels.ignore_index, 255}
        if unknown := sorted(set(np.unique(ids).tolist()) - allowed):
            raise DataError(f"{frame.mask}: ids {unknown} are neither one of {len(self.source_labels)} classes nor void")
        return self.mapping(ids)


def read_labels(name: str) -> LabelSet:
    """The label set `voc`, `camvid`, or that of a JSON file `{"classes": [{"id", "name", "color"}], "ignore_index"}`."""
    known = {"voc": voc_labels, "camvid": camvid_labels}
    if name in known:
        return known[name]()
    try:
        document = json.loads(Path(name).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"labels must be voc, camvid or a JSON file, got {name!r}: {error}") from error
    if not isinstance(document, dict) or "classes" not in document:
        raise DataError(f'{name} needs a list of classes: {{"classes": [...], "ignore_index": 255}}')
    return LabelSet.from_list(document["classes"], document.get("ignore_index", 255))


def get_dataset(root: Path, split: str, labels: LabelSet, mapping: ClassMapping | None = None) -> Split:
    """The split (`train`, `val`, ...) of the data set in this folder, whichever of the two layouts it has.

    Raises `DataError` where neither layout is found, a listed file is missing, or the split is empty.
    """
    voc = next((p for p in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012") if (p / "ImageSets").is_dir()), None)
    if voc:
        frames = _voc_frames(voc, split)
    elif (root / f"{split}annot").is_dir():
        frames = _camvid_frames(root, split)
    else:
        raise DataError(f"{root} holds neither ImageSets/Segmentation (VOCdevkit) nor {split} and {split}annot (CamVid)")
    if not frames:
        raise DataError(f"{root}: the split {split!r} is empty")
    return Split(split, tuple(frames), mapping or identity(labels), labels)


def _voc_frames(root: Path, split: str) -> list[Frame]:
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not listing.is_file():
        raise DataError(f"{listing} is not there; splits are listed as ImageSets/Segmentation/NAME.txt")
    names = listing.read_text().split()
    return [_frame(name, root / "JPEGImages" / name, root / "SegmentationClass" / f"{name}.png") for name in names]


def _camvid_frames(root: Path, split: str) -> list[Frame]:
    masks = sorted((root / f"{split}annot").glob("*.png"))
    return [_frame(mask.stem, root / split / mask.stem, mask) for mask in masks]


def _frame(name: str, stem: Path, mask: Path) -> Frame:
    image = _first_file([stem.with_name(stem.name + ending) for ending in IMAGE_ENDINGS])
    if image is None or not mask.is_file():
        raise DataError(f"{stem if image is None else mask}: no such {'image' if image is None else 'mask'}")
    return Frame(name, image, mask)


def _first_file(paths: Sequence[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
