"""One data set as labelling tools export it: photos and masks of class ids become the tools' files."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as run_lengths

from model.labels import voc_color
from tests.support.images import encode
from tests.support.training.coco import SIZE, Ids, Region

Masks = Mapping[Path, Ids]
"""Masks of class ids (H, W), 0 the background and 255 void, by their photos."""


def objects(ids: Ids) -> Iterator[tuple[int, Region, tuple[int, int, int, int]]]:
    """Each class of a mask but the background and void: its id, its pixels, and their edges (x0, y0, x1, y1)."""
    for value in np.unique(ids[(ids > 0) & (ids < 255)]).tolist():
        rows, columns = np.nonzero(ids == value)
        yield value, ids == value, (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


def is_rectangle(region: Region, edges: tuple[int, int, int, int]) -> bool:
    x0, y0, x1, y1 = edges
    return bool(region[y0:y1, x0:x1].all())


def corners(edges: tuple[int, int, int, int]) -> list[list[float]]:
    x0, y0, x1, y1 = edges
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def write_labelme(root: Path, masks: Masks, names: Sequence[str]) -> Path:
    """A JSON file beside each photo: rectangles as polygons, other regions as masks; gives the folder."""
    root.mkdir(parents=True, exist_ok=True)
    for photo, ids in masks.items():
        shutil.copyfile(photo, root / photo.name)
        shapes: list[dict[str, Any]] = []
        for value, region, edges in objects(ids):
            x0, y0, x1, y1 = edges
            if is_rectangle(region, edges):
                shape: dict[str, Any] = {"shape_type": "polygon", "points": corners(edges), "mask": None}
            else:
                png = png_text(region[y0:y1, x0:x1])
                shape = {"shape_type": "mask", "points": [[x0, y0], [x1 - 1, y1 - 1]], "mask": png}
            shapes.append({"label": names[value], "group_id": None, "description": "", "flags": {}, **shape})
        write_labelme_file(root / photo.name, ids.shape, shapes)
    return root


def write_labelme_file(photo: Path, size: tuple[int, ...], shapes: Sequence[Mapping[str, Any]]) -> None:
    """The JSON file of a photo of this (height, width), beside it."""
    document = {
        "version": "6.3.1", "flags": {}, "shapes": list(shapes), "imagePath": photo.name, "imageData": None,
        "imageHeight": size[0], "imageWidth": size[1],
    }  # fmt: skip
    photo.with_suffix(".json").write_text(json.dumps(document))


def write_label_studio(root: Path, masks: Masks, names: Sequence[str]) -> Path:
    """The JSON of all tasks, with uploads below `images/`: rectangles as polygons, others as brush labels; gives the file."""
    from fcn_client.label_studio.predicting import encode_brush  # which a wheel lacks

    (root / "images").mkdir(parents=True, exist_ok=True)
    tasks = []
    for number, (photo, ids) in enumerate(masks.items(), 1):
        shutil.copyfile(photo, root / "images" / photo.name)
        height, width = ids.shape
        result: list[dict[str, Any]] = []
        for value, region, edges in objects(ids):
            if is_rectangle(region, edges):
                points = [[100 * x / width, 100 * y / height] for x, y in corners(edges)]
                kind, content = "polygonlabels", {"points": points, "closed": True}
            else:
                x0, y0, x1, y1 = edges
                rle = encode_brush(region[y0:y1, x0:x1], left=x0, top=y0, size=(height, width))
                kind, content = "brushlabels", {"format": "rle", "rle": rle}
            result.append(label_studio_result(kind, names[value], size=ids.shape, **content))
        annotation = {"id": number, "was_cancelled": False, "ground_truth": False, "result": result}
        upload = f"/data/upload/3/{number:08x}-{photo.name}"
        tasks.append({"id": number, "data": {"image": upload}, "annotations": [annotation], "predictions": []})
    (root / "project.json").write_text(json.dumps(tasks))
    return root / "project.json"


def label_studio_result(kind: str, *labels: str, size: tuple[int, ...] = SIZE, **value: Any) -> dict[str, Any]:
    """A result of Label Studio on an image of this (height, width), with the labels under the key of its type."""
    named = {kind: list(labels)} if labels else {}
    return {
        "id": f"{kind}-{len(str(value))}", "type": kind, "from_name": "tag", "to_name": "image", "original_height": size[0],
        "original_width": size[1], "image_rotation": 0, "value": value | named,
    }  # fmt: skip


def write_label_studio_results(root: Path, *tasks: Sequence[Mapping[str, Any]]) -> Path:
    """A task for each list of results, on grey photos `0.png`, `1.png` and so on of `SIZE`; gives the file."""
    root.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, results in enumerate(tasks):
        Image.new("L", SIZE[::-1], 128).save(root / f"{index}.png")
        entries.append({"id": index + 1, "data": {"image": f"{index}.png"}, "annotations": [{"id": 1, "result": [*results]}]})
    (root / "project.json").write_text(json.dumps(entries))
    return root / "project.json"


def write_labelme_shapes(root: Path, *shapes: Mapping[str, Any], name: str = "0") -> Path:
    """A grey photo of `SIZE` with these shapes; gives the folder."""
    root.mkdir(parents=True, exist_ok=True)
    Image.new("L", SIZE[::-1], 128).save(root / f"{name}.png")
    write_labelme_file(root / f"{name}.png", SIZE, shapes)
    return root


def png_text(pixels: npt.NDArray[Any]) -> str:
    """An array as a PNG in base64."""
    return base64.b64encode(encode(pixels)).decode()


def write_cvat_coco(root: Path, masks: Masks, names: Sequence[str]) -> Path:
    """COCO 1.0: `annotations/instances_default.json`, brush masks with `iscrowd` 1; gives the folder."""
    _copy(masks, root / "images" / "default")
    (root / "annotations").mkdir(parents=True)
    _write_coco(root / "annotations" / "instances_default.json", masks, names, crowd=1)
    return root


def write_cvat_masks(root: Path, masks: Masks, names: Sequence[str]) -> Path:
    """Segmentation mask 1.1: RGB masks in the colours of `labelmap.txt`, one list; gives the folder."""
    _copy(masks, root / "JPEGImages")
    lists = root / "ImageSets" / "Segmentation"
    for folder in (lists, root / "SegmentationClass"):
        folder.mkdir(parents=True)
    lists.joinpath("default.txt").write_text("".join(f"{photo.stem}\n" for photo in masks))
    palette = np.array([voc_color(index) for index in range(len(names))], np.uint8)
    lines = [f"{name}:{red},{green},{blue}::" for name, (red, green, blue) in zip(names, palette.tolist(), strict=True)]
    (root / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines]) + "\n")
    for photo, ids in masks.items():
        Image.fromarray(palette[ids]).save(root / "SegmentationClass" / f"{photo.stem}.png")
    return root


def write_roboflow_coco(root: Path, masks: Masks, names: Sequence[str]) -> Path:
    """COCO Segmentation: the folders `train` and `valid`, each with photos and `_annotations.coco.json`; gives the folder."""
    for folder, part in _parts(masks).items():
        _copy(part, root / folder)
        _write_coco(root / folder / "_annotations.coco.json", part, names, group="plants")
    return root


def write_roboflow_masks(root: Path, masks: Masks, names: Sequence[str]) -> Path:
    """Semantic Segmentation Masks: `a.jpg`, `a_mask.png` and `_classes.csv` in `train` and `valid`; gives the folder."""
    for folder, part in _parts(masks).items():
        _copy(part, root / folder)
        for photo, ids in part.items():
            Image.fromarray(ids).save(root / folder / f"{photo.stem}_mask.png")
        lines = [f"{index}, {name}\n" for index, name in enumerate(names)]
        (root / folder / "_classes.csv").write_text("Pixel Value, Class\n" + "".join(lines))
    return root


EXPORTS = {
    "labelme": write_labelme, "label-studio": write_label_studio, "cvat-coco": write_cvat_coco, "cvat-masks": write_cvat_masks,
    "roboflow-coco": write_roboflow_coco, "roboflow-masks": write_roboflow_masks,
}  # fmt: skip
READ_AS_THEY_ARE = ("cvat-masks", "roboflow-masks")


def _parts(masks: Masks) -> dict[str, dict[Path, Ids]]:
    """Three of four frames for `train`, the others for `valid`."""
    items = list(masks.items())
    return {
        "train": {photo: ids for index, (photo, ids) in enumerate(items) if index % 4},
        "valid": {photo: ids for index, (photo, ids) in enumerate(items) if not index % 4},
    }


def _copy(masks: Masks, folder: Path) -> None:
    folder.mkdir(parents=True)
    for photo in masks:
        shutil.copyfile(photo, folder / photo.name)


def _write_coco(file: Path, masks: Masks, names: Sequence[str], *, crowd: int = 0, group: str = "") -> None:
    """Rectangles as polygons, other regions as run lengths; with the name of a group, a category 0 of it."""
    images, annotations = [], []
    for number, (photo, ids) in enumerate(masks.items(), 1):
        height, width = ids.shape
        images.append({"id": number, "file_name": photo.name, "height": height, "width": width})
        for value, region, edges in objects(ids):
            x0, y0, x1, y1 = edges
            common = {"id": len(annotations) + 1, "image_id": number, "category_id": value, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            if is_rectangle(region, edges):
                polygon = [value for point in corners(edges) for value in point]
                annotations.append({**common, "segmentation": [polygon], "iscrowd": 0})
            else:
                encoded = run_lengths.encode(np.asfortranarray(region, np.uint8))
                counts = {"counts": encoded["counts"].decode(), "size": [height, width]}
                annotations.append({**common, "segmentation": counts, "iscrowd": crowd})
    categories = [{"id": 0, "name": group, "supercategory": "none"}] if group else []
    categories += [{"id": index, "name": name, "supercategory": group} for index, name in enumerate(names) if index]
    file.write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
