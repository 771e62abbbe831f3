"""A small export in COCO's form: photos beside a JSON file, and the masks that an import makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from common.arrays import Ids, Mask
from tests.support.images import make_photo
from training.data.label_files import IGNORED
from training.importing.coco import Document
from training.importing.objects import Drawing
from training.importing.omissions import Omissions

Region = Mask
SIZE = (40, 60)
SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]


class Import(Protocol):
    """Imports an export into the test's folder `data`; gives what it prints on stdout, or with status 2 on stderr."""

    def __call__(self, export: Path, *options: str, status: int = 0) -> str: ...


def image(id_: Any, file_name: str, **facts: Any) -> dict[str, Any]:
    return {"id": id_, "file_name": file_name, "height": SIZE[0], "width": SIZE[1], **facts}


def thing(id_: int = 1, image_id: Any = 1, category: Any = 1, **geometry: Any) -> dict[str, Any]:
    """An object; without a geometry, a square of 20x20 pixels."""
    return {"id": id_, "image_id": image_id, "category_id": category, **(geometry or {"segmentation": [SQUARE]})}


def document(*things: dict[str, Any], images: list[dict[str, Any]] | None = None, **parts: Any) -> dict[str, Any]:
    """A document of the image `a.png` and the class `leaf`."""
    categories = [{"id": 1, "name": "leaf"}]
    return {"images": images or [image(1, "a.png")], "categories": categories, "annotations": list(things), **parts}


def write_export(file: Path, content: dict[str, Any], *photos: str) -> Path:
    """Writes a document and photos beside it, `a.png` by default; gives the document's file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    for seed, name in enumerate(photos or ("a.png",)):
        write_photo(file.parent / name, seed)
    return file


def write_photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_photo(*SIZE, seed=seed)).save(path)
    return path


def box(x0: int, y0: int, x1: int, y1: int) -> Region:
    """The pixels of a rectangle of an image of `SIZE`."""
    region = np.zeros(SIZE, bool)
    region[y0:y1, x0:x1] = True
    return region


def drawn(document: Document, omissions: Omissions) -> tuple[list[Ids], str]:
    """The masks of a document's images of `SIZE`, in which `leaf` is 1 and `stem` 2; and a line for all that is told."""
    drawing = Drawing({"leaf": 1, "stem": 2, IGNORED: 255}, omissions, document.path)
    by_image = [[entry for entry in document.annotations if entry["image_id"] == image["id"]] for image in document.images]
    masks = [drawing.mask(objects, SIZE) for objects in by_image]
    errors = map(str, [*document.errors, *omissions.errors(), *omissions.object_errors])
    return masks, "\n".join([*errors, *omissions.notes()])


def read_masks(out: Path, split: str = "") -> dict[str, Ids]:
    """The masks of a folder that an import wrote, by their names."""
    return {path.stem: np.asarray(Image.open(path)) for path in sorted((out / "masks" / split).glob("*.png"))}
