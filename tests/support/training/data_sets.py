"""Small data sets in both layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def write_frame(image: Path, mask: Path, ids: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8] | None = None) -> None:
    """One labelled image; grey pixels of 60 x id where none are given."""
    colors = np.dstack([ids.astype(np.int64) * 60 % 256] * 3).astype(np.uint8) if pixels is None else pixels
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colors).save(image)
    Image.fromarray(ids).save(mask)


def write_voc(root: Path, frames: dict[str, npt.NDArray[np.uint8]], split: str = "train") -> Path:
    """A VOC2012 folder; gives the root."""
    for name, ids in frames.items():
        write_frame(root / "JPEGImages" / f"{name}.png", root / "SegmentationClass" / f"{name}.png", ids)
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in frames))
    return root


def write_camvid(root: Path, frames: dict[str, npt.NDArray[np.uint8]], split: str = "train") -> Path:
    """A CamVid folder in the SegNet tutorial's layout; gives the root."""
    for name, ids in frames.items():
        write_frame(root / split / f"{name}.png", root / f"{split}annot" / f"{name}.png", ids)
    return root
