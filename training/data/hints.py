"""Likely reasons why the mask of an image is missing."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from training.data.files import Folders, normal_name

BRUSH_MASK = re.compile(r"task-\d+-annotation-\d+-by-")  # Label Studio's PNG export: one file for each label
NEAR = 0.8  # similarity of two names, as difflib measures it, at which one may be the other misspelt


def mask_hint(folders: Folders, mask: Path, images: Path) -> str:
    """A reason to append to the error that there is no such mask; empty if there is none.

    mask: the path without its ending. images: the folder of the images, which tells the masks that no image has.
    """
    if other := folders.find(mask):
        return f"; {other.name} is no PNG: export masks as PNG"
    names = folders.images(mask.parent)
    orphans = {name.casefold(): name for name in names if not folders.find(images / name)}
    longer = [name for name in names if name.startswith((f"{mask.name}_", f"{mask.name}-", f"{mask.name}."))]
    near = get_close_matches(normal_name(mask.name).casefold(), orphans, n=1, cutoff=NEAR)
    if name := next(iter([*longer, *(orphans[key] for key in near)]), None):
        return f"; there is {names[name][0].name}; rename it: a mask has the name of its image"
    if any(BRUSH_MASK.match(name) for name in names):
        return "; Label Studio's PNGs hold one label each: export JSON, and make masks of it with fcn-import"
    if (mask.parent.parent / "labelmap.txt").is_file():
        return "; CVAT writes no mask for an image without objects: remove the image from the list, or draw its background"
    return ""
