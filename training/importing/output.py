"""Writes photos and masks of an import into a data set's folder, and keeps the masks that a person has corrections since."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import TypeAdapter

from common.regular_file import read_regular_file
from common.whole_file import copy_file, refuse_planted_link, write_file
from training.data.files import MASK_ENDINGS, Folders, normal_name
from training.data.masks import open_mask
from training.data.problems import DataError

RECORD = ".fcn-import.json"
PARTS = ".fcn-import-"  # begins the name of a `parts_folder`
DIGESTS = TypeAdapter(dict[str, list[str]])


@contextmanager
def parts_folder(out: Path) -> Iterator[Path]:
    """Makes `out`, and in it a folder for files that are not yet written, which is removed at the end.

    Removes those of imports that were killed, too. After a `ValueError`, `out` is removed if it is new and empty.
    """
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    for folder in out.glob(f"{PARTS}*"):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        with TemporaryDirectory(dir=out, prefix=PARTS) as parts:
            yield Path(parts)
    except ValueError:
        if is_new and not any(out.iterdir()):
            out.rmdir()
        raise


@dataclass
class ImportFolder:
    """A data set's folder that an import writes to.

    `RECORD` in it has every sha256 of each mask as imports wrote it, by the mask's path in the folder. A mask with another one
    was changed by a person, unless it holds the same pixels. The record is written before the masks, so a killed import does
    not make its own masks look changed. One import at a time.
    """

    out: Path
    record: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self.record = DIGESTS.validate_json(read_regular_file(self.out / RECORD))
        except (OSError, ValueError):  # missing or damaged: masks that differ count as changed
            self.record = {}

    def errors(self, split: str, sources: Sequence[Path]) -> list[DataError]:
        """The errors of photos that would replace another photo, or be replaced by a mask."""
        places = {os.path.realpath(self._mask(split, source, {})): source for source in sources}
        errors = [
            DataError(f"{source} lies where the mask of {places[place]} is written: give another --out")
            for source in sources
            if (place := os.path.realpath(source)) in places
        ]
        files = Folders().images(self.out / "images" / split)
        return errors + [
            DataError(
                f"{existing} is another image than {source}, and both would have one mask; rename one, or give another --out"
            )
            for source in sources
            for existing in files.get(normal_name(source.stem), [])
            if existing.name != source.name or not filecmp.cmp(source, existing, shallow=False)
        ]

    def write(self, split: str, masks: Mapping[Path, Path], *, force: bool) -> list[Path]:
        """Copies photos and moves their masks, by the photos' files; gives the masks that a person has changed.

        These are kept, unless `force` is set.
        """
        for part in ("images", "masks"):
            (self.out / part / split).mkdir(parents=True, exist_ok=True)
        existing = Folders().images(self.out / "masks" / split)
        targets = {source: self._mask(split, source, existing) for source in masks}
        corrections = [targets[source] for source, mask in masks.items() if self._is_changed(targets[source], mask)]
        new_masks = {source: mask for source, mask in masks.items() if force or targets[source] not in corrections}
        for source, mask in new_masks.items():
            digests = self.record.setdefault(self._key(targets[source]), [])
            if (digest := _sha256(mask)) not in digests:
                digests.append(digest)
        write_file(self.out / RECORD, DIGESTS.dump_json(dict(sorted(self.record.items())), indent=1), follow=False)
        for source, mask in masks.items():
            copy = self.out / "images" / split / source.name
            if not copy.exists():
                copy_file(source, copy)
            if source in new_masks:
                refuse_planted_link(targets[source])
                shutil.move(mask, os.path.realpath(targets[source]))  # through a link of the user's
        return [] if force else corrections

    def _mask(self, split: str, source: Path, existing: Mapping[str, list[Path]]) -> Path:
        """The mask's file: the existing one of this name, its ending in any case, or a new one."""
        files = existing.get(normal_name(source.stem), [])
        new = self.out / "masks" / split / f"{source.stem}.png"
        return next((file for file in files if file.suffix.lower() in MASK_ENDINGS), new)

    def _key(self, mask: Path) -> str:
        return mask.relative_to(self.out).as_posix()

    def _is_changed(self, target: Path, mask: Path) -> bool:
        """Whether a person has changed an imported mask, or made one: it is none of ours, and holds other pixels."""
        if not os.path.lexists(target):
            return False
        try:
            digest = _sha256(target)
            if digest in (*self.record.get(self._key(target), []), _sha256(mask)):
                return False
            return not np.array_equal(open_mask(target).pixels, open_mask(mask).pixels)
        except (OSError, DataError):  # no mask of ours
            return True


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_regular_file(path)).hexdigest()
