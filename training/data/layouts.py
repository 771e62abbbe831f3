"""Finds the frames of a split in the known layouts.

These are VOCdevkit and its variants by CVAT and labelme, two layouts of CamVid, Roboflow's masks, and `images/` with `masks/`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from imaging.decoding import IMAGE_ENDINGS
from training.data import camvid, files
from training.data.files import MASK_ENDINGS, NAME_ENCODING, Folders, frame_name, normal_name, path_below, without_ending
from training.data.problems import MOST, MOST_NAMED, DataError, collecting, first_names, remark

LAYOUTS = (
    "images/ and masks/, ImageSets/Segmentation (VOCdevkit, CVAT), JPEGImages and SegmentationClass (labelme), "
    "train and trainannot or 701_StillsRaw_full (CamVid), train/_classes.csv (Roboflow)"
)
ONE_IN = 5  # without lists, about one frame in five is val
SPLITS = ("train", "val")
# folders of masks of VOC, of SBD, and of older versions of labelme
VOC_MASKS = ("SegmentationClass", "SegmentationClassAug", "SegmentationClassPNG")
PIXEL_CLASSES = "_classes.csv"  # Roboflow's "Semantic Segmentation Masks": one in the folder of each split
ROBOFLOW_MASK = "_mask"  # appended to an image's name


class SetOptions(BaseModel):
    """How a mixture uses one of its sets.

    path: of the set's folder, from the mixture's; empty: as the set's name. weight: the set's part of the crops, relative to
    those of the others. split: the one that has all frames which the set's layout does not list; empty: their names decide.
    void_above: pixels without a label are void where the teacher gives the labelled classes more than this probability; 1:
    nowhere.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    path: str = ""
    weight: Annotated[float, Field(gt=0)] = 1.0
    split: Literal["", "train", "val"] = ""
    void_above: Annotated[float, Field(ge=0, le=1)] = 1.0


class FrameSet(SetOptions):
    """A set of frames whose masks have labels of the same classes.

    name: in the mixture; empty for a data set that is none. labelled: the ids of the masks' classes that it labels; None: all.
    """

    name: str = ""
    folder: Path = Path()
    labelled: frozenset[int] | None = None


WHOLE = FrameSet()


@dataclass(frozen=True)
class Frame:
    """One labelled image: its name in the split's list, its two files, and its set."""

    name: str
    image: Path
    mask: Path
    set: FrameSet = WHOLE


@dataclass
class FrameListing:
    """The frames of a split, those that lack a file and their errors, and notes for the user.

    whole: frames that no list names all belong to the split.
    """

    folders: Folders = field(default_factory=Folders)
    frames: list[Frame] = field(default_factory=list)
    incomplete: list[Frame] = field(default_factory=list)
    missing: list[DataError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    whole: bool = False

    def has(self, name: str, split: str) -> bool:
        """Whether a frame that no list names belongs to the split: by its name alone, so added frames do not move others."""
        digest = hashlib.sha256(normal_name(name).encode(*NAME_ENCODING)).hexdigest()
        return self.whole or (int(digest, 16) % ONE_IN == 0) == (split == "val")

    def add(self, name: str, image: Path, *masks: Path) -> None:
        """Adds the frame of an image and the first of `masks` that exists; all paths are without endings.

        With a missing file, or two files of one name, it goes to `incomplete`, and an error to `missing`.
        """
        image_files = self.folders.find(image)
        mask_files = next((paths for mask in masks if (paths := self.folders.find(mask, MASK_ENDINGS))), [])
        frame = Frame(name, [*image_files, image][0], [*mask_files, masks[0].with_name(f"{masks[0].name}.png")][0])
        if len(image_files) == len(mask_files) == 1:
            self.frames.append(frame)
            return
        self.incomplete.append(frame)
        if len(duplicates := image_files) > 1 or len(duplicates := mask_files) > 1:
            self.missing.append(DataError(f"{duplicates[0]} and {duplicates[1].name} are two files of one name; remove one"))
        elif image_files:
            # a hint takes time by the number of names; it is made only for the errors that a message shows
            hint = files.mask_hint(self.folders, masks[0]) if len(self.missing) < MOST else ""
            self.missing.append(DataError(f"{frame.mask}: no such mask{hint}"))
        else:
            self.missing.append(DataError(f"{image}: no such image (with {', '.join(IMAGE_ENDINGS)})"))

    def names(self, folder: Path) -> list[str]:
        """The names of a folder's images without endings; raises `DataError` for two images of one name."""
        images = self.folders.images(folder)
        if duplicates := [name for name, paths in images.items() if len(paths) > 1]:
            raise DataError(
                f"{folder} has two images of one name ({first_names(duplicates)}), which would have one mask; rename them"
            )
        deeper = [path for path in files.images_below(folder) if path.parent != folder]
        self.leave_out(deeper, f"images in folders of {folder} are")
        self.leave_out(files.unread_photos(folder), "files are of no kind that is read and are", MOST_NAMED)
        return list(images)

    def note_orphans(self, images: Path, masks: Path) -> None:
        """Adds a note if masks have no image."""
        orphans = [paths[0] for name, paths in self.folders.images(masks).items() if not self.folders.find(images / name)]
        self.leave_out(orphans, "masks have no image and are", MOST_NAMED)

    def leave_out(self, items: Sequence[object], what: str, most: int = 3) -> None:
        """Adds a note on files that are left out, if there are any. what: their kind, and why; most: names in the note."""
        self.notes += remark(items, f"{what} left out", most=most)


def list_frames(root: Path, split: str, whole: bool = False) -> FrameListing:
    """The frames of a split, in any known layout, and the errors of missing files.

    whole: frames that no list names all belong to the split. Raises `DataError` for an unknown layout, and for a list that is
    missing or empty.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    listing = FrameListing(whole=whole)
    devkits = (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")
    if devkit := next((path for path in devkits if (path / "ImageSets").is_dir()), None):
        _voc(listing, devkit, split)
    elif (root / "images").is_dir():
        _plain(listing, root, split)
    elif (root / "JPEGImages").is_dir():
        _labelme(listing, root, split)
    elif (root / camvid.FRAMES).is_dir():
        _published_camvid(listing, root, split)
    elif any(root.glob("*annot")):
        _tutorial_camvid(listing, root, split)
    elif (root / "train" / PIXEL_CLASSES).is_file():
        _roboflow(listing, root, split)
    else:
        raise DataError(f"{root} has none of the known layouts: {LAYOUTS}; fcn-import reads JSON of labelling tools")
    if not listing.frames and not listing.missing:
        raise DataError(f"{root}: the split {split!r} is empty; for plain folders, train.txt and val.txt can list the frames")
    duplicates = repeated(frame.name for frame in listing.frames)
    listing.notes += remark(duplicates, f"frames are listed more than once in {split!r}, and used as often", most=3)
    return listing


def _voc(listing: FrameListing, root: Path, split: str) -> None:
    """Adds the frames of a list in `ImageSets/Segmentation`.

    A line is a name, or a pair of paths, as in many copies of SBD's train_aug. CVAT writes a single list, `default.txt`: about
    one of its frames in five is val, the others are train.
    """
    lists = root / "ImageSets" / "Segmentation"
    if split in SPLITS and [path.name for path in lists.glob("[!.]*.txt")] == ["default.txt"]:
        paths = [line for line in files.lines(lists, "default") if listing.has(without_ending(line), split)]
    else:
        paths = files.lines(lists, split)
    images = root / "JPEGImages"
    for line in paths:
        words = line.split()
        with collecting(listing.missing):
            if len(words) == 2 and all(word.lower().endswith(IMAGE_ENDINGS) for word in words):
                image, mask = (root / _from_root(root, word) for word in words)
                listing.add(image.name, image, mask)
            else:  # VOC's mask comes before SBD's, because it is finer
                name = frame_name(images, line)
                listing.add(name, images / name, *(root / folder / name for folder in VOC_MASKS))


def _from_root(root: Path, word: str) -> str:
    """A path of a pair, without its ending, as seen from the root; it may begin with `/` for the root, or be absolute."""
    inside = path_below(root, root / word.lstrip("/"))
    if word.startswith("/") and not (inside and (root / inside).parent.is_dir()):
        inside = path_below(root, Path(word)) or inside
    if not inside:
        raise DataError(f"{word} is listed and leads out of {root}: write paths below that folder, such as /JPEGImages/a.jpg")
    return without_ending(inside)


def _labelme(listing: FrameListing, root: Path, split: str) -> None:
    """Adds frames of labelme2voc's output: VOC's folders without lists. About one frame in five is val."""
    if split not in SPLITS:
        raise DataError(f"{root} has no ImageSets/Segmentation/{split}.txt")
    for name in listing.names(root / "JPEGImages"):
        if listing.has(name, split):
            listing.add(name, root / "JPEGImages" / name, *(root / folder / name for folder in VOC_MASKS))
    for folder in VOC_MASKS:
        listing.note_orphans(root / "JPEGImages", root / folder)


def _plain(listing: FrameListing, root: Path, split: str) -> None:
    """Adds frames of `images/` and `masks/`.

    The split is that of `train.txt` or `val.txt`, or of the folders `images/train` and `masks/train`. Without either, about one
    frame in five is val.
    """
    images, masks = root / "images", root / "masks"
    if files.list_file(root, split):
        names = _listed_names(listing, images, files.lines(root, split))
        _note_unlisted(listing, root, images)
    elif (images / split).is_dir():
        outside = [paths[0] for paths in listing.folders.images(images).values()]
        listing.leave_out(outside, f"images lie in {images} beside its folders and are")
        images, masks = images / split, masks / split
        names = listing.names(images)
    elif any((images / other).is_dir() or files.list_file(root, other) for other in SPLITS):
        raise DataError(f"{root} has neither {split}.txt nor images/{split}, but a list or folder of another split")
    elif split in SPLITS:
        names = [name for name in listing.names(images) if listing.has(name, split)]
    else:
        raise DataError(f"{root} has neither {split}.txt nor images/{split}")
    for name in names:
        listing.add(name, images / name, masks / name)
    listing.note_orphans(images, masks)


def _listed_names(listing: FrameListing, images: Path, paths: Iterable[str]) -> list[str]:
    """The names of the listed frames; adds the errors of lines that lead out of the folder of images."""
    names = []
    for line in paths:
        with collecting(listing.missing):
            names.append(frame_name(images, line))
    return names


def _note_unlisted(listing: FrameListing, root: Path, images: Path) -> None:
    """Adds a note on images that none of the folder's lists names."""
    names_in_lists: set[str] = set()
    for path in root.glob("*.txt"):
        with suppress(DataError):  # a text that is no list
            names_in_lists.update(_listed_names(FrameListing(), images, files.lines(root, path.stem)))
    names = {normal_name(path.relative_to(images).with_suffix("").as_posix()): path for path in files.images_below(images)}
    paths = [path for name, path in names.items() if name not in names_in_lists]
    listing.leave_out(paths, "images are in no list and are", MOST_NAMED)


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _tutorial_camvid(listing: FrameListing, root: Path, split: str) -> None:
    """Adds the frames of `train` and `trainannot`, as in the copy of CamVid that SegNet's tutorial uses."""
    if not (root / f"{split}annot").is_dir():
        raise DataError(f"{root / f'{split}annot'} is not there; a split has the folders {split} and {split}annot")
    masks = listing.names(root / f"{split}annot")
    for name in masks:
        listing.add(name, root / split / name, root / f"{split}annot" / name)
    mask_names = set(masks)
    names = [name for name in listing.names(root / split) if name not in mask_names]
    listing.leave_out(names, f"images in {root / split} have no mask and are")


def _published_camvid(listing: FrameListing, root: Path, split: str) -> None:
    """Adds the frames of CamVid as published, with its usual splits."""
    for name in listing.names(root / camvid.FRAMES):
        if camvid.split_of(name) == split:
            listing.add(name, root / camvid.FRAMES / name, root / camvid.MASKS / f"{name}_L")


def _roboflow(listing: FrameListing, root: Path, split: str) -> None:
    """Adds frames of Roboflow's folders `train`, `valid` and `test`, in which `a.jpg` and `a_mask.png` lie side by side.

    About one frame in five of `train` is val if there is no folder `valid`.
    """
    validation = next((root / name for name in ("valid", "val") if (root / name / PIXEL_CLASSES).is_file()), None)
    folder = (validation or root / "train") if split == "val" else root / split
    if not folder.is_dir():
        raise DataError(f"{folder} is not there; a split has a folder of its name, such as train")
    names = dict.fromkeys(listing.names(folder))
    for name in names:
        if not name.endswith(ROBOFLOW_MASK) and (validation or split not in SPLITS or listing.has(name, split)):
            listing.add(name, folder / name, folder / f"{name}{ROBOFLOW_MASK}")
    masks = [name.removesuffix(ROBOFLOW_MASK) for name in names if name.endswith(ROBOFLOW_MASK)]
    orphans = [f"{name}{ROBOFLOW_MASK}" for name in masks if name not in names]
    listing.leave_out(orphans, f"masks in {folder} have no image and are")
