"""Where labelled images lie on disk: VOCdevkit, CamVid in two forms, and plain `images/` and `masks/`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training import camvid

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
LAYOUTS = "images/ and masks/, ImageSets/Segmentation (VOCdevkit), train and trainannot or 701_StillsRaw_full (CamVid)"
ONE_IN = 5  # of the frames of a folder without lists, how many are val


class DataError(ValueError):
    """A data set that is not laid out as expected."""


@dataclass(frozen=True)
class Frame:
    """One labelled image: its name in the list, and its files."""

    name: str
    image: Path
    mask: Path


def find_frames(root: Path, split: str) -> list[Frame]:
    """The frames of a split, in whichever layout the folder has; raises `DataError`, naming a file that is missing."""
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    voc = next((p for p in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012") if (p / "ImageSets").is_dir()), None)
    if voc:
        frames = _voc(voc, split)
    elif (root / "images").is_dir():
        frames = _plain(root, split)
    elif (root / camvid.FRAMES).is_dir():
        frames = _published_camvid(root, split)
    elif any(root.glob("*annot")):
        frames = _tutorial_camvid(root, split)
    else:
        raise DataError(f"{root} has none of the known layouts: {LAYOUTS}")
    if not frames:
        raise DataError(f"{root}: the split {split!r} is empty; for plain folders, train.txt and val.txt can list the frames")
    return frames


def _voc(root: Path, split: str) -> list[Frame]:
    """Lists hold names, or, as SBD's train_aug is often passed on, pairs of paths."""
    frames = []
    for line in _listing(root / "ImageSets" / "Segmentation", split).splitlines():
        words = line.split()
        if len(words) == 2 and words[1].endswith(".png"):
            name, mask = Path(words[0]).stem, root / words[1].lstrip("/")
        elif words:
            name = line.strip()
            mask = _voc_mask(root, name)
        else:
            continue
        frames.append(_frame(name, root / "JPEGImages" / name, mask))
    return frames


def _voc_mask(root: Path, name: str) -> Path:
    """VOC's own mask, the finer one; SBD's where VOC has none."""
    own, added = (root / folder / f"{name}.png" for folder in ("SegmentationClass", "SegmentationClassAug"))
    return added if added.is_file() and not own.is_file() else own


def _plain(root: Path, split: str) -> list[Frame]:
    """By `train.txt` and `val.txt`, by `images/train` and `masks/train`, else about one frame in five is val."""
    images, masks = root / "images", root / "masks"
    if (root / f"{split}.txt").is_file():
        names = [_without_ending(line.strip()) for line in _listing(root, split).splitlines() if line.strip()]
    elif (images / split).is_dir():
        images, masks = images / split, masks / split
        names = _stems(images)
    elif any((images / other).is_dir() or (root / f"{other}.txt").is_file() for other in ("train", "val")):
        raise DataError(f"{root} has neither {split}.txt nor images/{split}; its other splits have")
    elif split in ("train", "val"):
        names = [name for name in _stems(images) if _is_val(name) == (split == "val")]
    else:
        raise DataError(f"{root} has neither {split}.txt nor images/{split}")
    return [_frame(name, images / name, masks / f"{name}.png") for name in names]


def _is_val(name: str) -> bool:
    """By the name alone, so that frames which are added later move none of the others."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % ONE_IN == 0


def _without_ending(name: str) -> str:
    return name.removesuffix(Path(name).suffix) if Path(name).suffix.lower() in IMAGE_ENDINGS else name


def _stems(folder: Path) -> list[str]:
    stems = sorted(path.stem for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    if twice := repeated(stems):
        raise DataError(f"{folder} has two images of one name ({', '.join(twice[:5])}), which would have one mask; rename them")
    return stems


def repeated(names: Iterable[str]) -> list[str]:
    """Those that come more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _tutorial_camvid(root: Path, split: str) -> list[Frame]:
    if not (root / f"{split}annot").is_dir():
        raise DataError(f"{root / f'{split}annot'} is not there; a split has the folders {split} and {split}annot")
    masks = sorted((root / f"{split}annot").glob("*.png"))
    return [_frame(mask.stem, root / split / mask.stem, mask) for mask in masks]


def _published_camvid(root: Path, split: str) -> list[Frame]:
    names = [name for name in _stems(root / camvid.FRAMES) if camvid.split_of(name) == split]
    return [_frame(name, root / camvid.FRAMES / name, root / camvid.MASKS / f"{name}_L.png") for name in names]


def _listing(folder: Path, split: str) -> str:
    path = folder / f"{split}.txt"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.txt"))) or "none"
        raise DataError(f"{path} is not there; lists in {folder}: {there}")
    return path.read_text(encoding="utf-8-sig")


def _frame(name: str, stem: Path, mask: Path) -> Frame:
    endings = [written for ending in IMAGE_ENDINGS for written in (ending, ending.upper(), f".{ending[1:].capitalize()}")]
    image = _first_file([stem.with_name(stem.name + ending) for ending in endings])
    if image is None or not mask.is_file():
        missing = f"{mask}: no such mask" if image else f"{stem}: no such image (with {', '.join(IMAGE_ENDINGS)})"
        raise DataError(missing)
    return Frame(name, image, mask)


def _first_file(paths: Sequence[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
