"""What the pages' commands ask of their reader: photos, labels, a scene, networks of other libraries. All are generated."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio.raw
import shapely
import timm
from PIL import Image
from safetensors.torch import save_file

from model.weights_file import DEFAULT_WEIGHTS, find_weights
from tests.support.checkout import ROOT
from tests.support.environments.page_commands import PYTHON_BLOCK
from tests.support.images import make_photo
from tests.support.imaging.scenes import write_scene
from tests.support.training.label_tools import write_labelme
from training.data.demo import write_demo_data

SCENES = ROOT / "docs" / "scenes"
CLASSES = ["background", "leaf", "stem", "soil", "weed"]


def add_inputs(commands: str, page: str, folder: Path) -> None:
    """Writes into the folder what the commands name and what is not there yet, but not what they write themselves."""
    for name, write in INPUTS.items():
        is_named = re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w.-])", commands)
        is_written = re.search(rf"--out {re.escape(name)}(?![\w.-])", commands)
        if is_named and not is_written and not (folder / name).exists():
            write(folder / name)
    for block in PYTHON_BLOCK.findall(page):
        for name in re.findall(r'"([\w-]+\.onnx)"', block):
            if name in commands and not (folder / name).exists():
                subprocess.run([sys.executable, "-W", "ignore", "-c", block], cwd=folder, capture_output=True, check=True)


def _demo(folder: Path) -> dict[Path, np.ndarray]:
    """Twenty photos, `leaf-001.jpg` and so on, and their masks."""
    write_demo_data(folder, train=14, val=6)
    photos = {}
    for number, photo in enumerate(sorted((folder / "JPEGImages").glob("*.jpg")), 1):
        mask = np.asarray(Image.open(folder / "SegmentationClass" / f"{photo.stem}.png"))
        photos[photo.rename(photo.with_name(f"leaf-{number:03d}.jpg"))] = mask
    return photos


def _write_export(path: Path) -> None:
    """Labels of twenty photos, as labelme writes them."""
    write_labelme(path, _demo(path.with_name("demo")), CLASSES[:4])


def _write_data(path: Path) -> None:
    """The folder of a training, with a mask beside each of twenty photos."""
    for photo, mask in _demo(path.with_name("demo")).items():
        for kind in ("images", "masks"):
            (path / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, path / "images")
        Image.fromarray(mask).save(path / "masks" / f"{photo.stem}.png")
    _write_classes(path / "classes.yaml", CLASSES[:4])


def _write_photos(path: Path) -> None:
    """Twenty photos: the quarters of those in `docs/`."""
    path.mkdir()
    for name in sorted((ROOT / "docs" / "photos").glob("*.jpg")):
        photo = Image.open(name)
        width, height = photo.width // 2, photo.height // 2
        for number, (left, top) in enumerate([(0, 0), (width, 0), (0, height), (width, height)], 1):
            photo.crop((left, top, left + width, top + height)).save(path / f"{name.stem}-{number}.jpg")


def _write_classes(path: Path, names: list[str] = CLASSES) -> None:
    path.write_text(json.dumps({"classes": names}))


def _write_project(path: Path) -> None:
    """A COCO file of the photos in PHOTOS beside it, with one polygon each."""
    photos = sorted(path.with_name("PHOTOS").glob("*.jpg"))
    sizes = [Image.open(photo).size for photo in photos]
    images = [
        {"id": id, "file_name": photo.name, "width": width, "height": height}
        for id, (photo, (width, height)) in enumerate(zip(photos, sizes, strict=True), 1)
    ]
    outline = [float(value) for value in shapely.get_coordinates(shapely.box(10, 10, 90, 80).exterior).ravel()[:-2]]
    annotations = [
        {"id": image["id"], "image_id": image["id"], "category_id": 1, "segmentation": [outline], "bbox": [10, 10, 80, 70],
         "area": 5600, "iscrowd": 0}
        for image in images
    ]  # fmt: skip
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "leaf"}]}
    path.write_text(json.dumps(document))


def _write_scenes(path: Path) -> None:
    path.mkdir()
    shutil.copy(SCENES / "osbs.tif", path)


def _write_layer(source: Path, path: Path) -> None:
    """A GeoPackage with the polygons of a GeoJSON file."""
    facts, _, geometry, columns = pyogrio.raw.read(source)
    pyogrio.raw.write(
        path, geometry, columns, facts["fields"], driver="GPKG", geometry_type=facts["geometry_type"], crs=facts["crs"]
    )


def _write_encoder(path: Path) -> None:
    """An untrained encoder, as timm saves its weights."""
    save_file(timm.create_model(path.stem, pretrained=False).state_dict(), path)


INPUTS: dict[str, Callable[[Path], object]] = {
    "classes.yaml": _write_classes,
    "scene.tif": lambda path: write_scene(path, make_photo(60, 90)),
    "DATA": _write_data,
    "EXPORT": _write_export,
    "PHOTOS": _write_photos,
    "convnext_tiny.safetensors": _write_encoder,
    "REST": _write_photos,
    "labelled.gpkg": lambda path: _write_layer(SCENES / "osbs-extent.geojson", path),
    "maps.safetensors": lambda path: shutil.copy(find_weights(DEFAULT_WEIGHTS), path),
    "labels.gpkg": lambda path: _write_layer(SCENES / "osbs-labels.geojson", path),
    "project.json": _write_project,
    "scenes": _write_scenes,
}
"""How to make what commands name and no command of the page makes, by its name."""
