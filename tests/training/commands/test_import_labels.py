"""COCO's JSON becomes a folder of images and masks that `fcn-train` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.coco import coco_document
from model.labels import numbered_labels
from tests.support.images import make_photo
from tests.support.imaging.samples import oriented, upright
from tests.support.training.coco import SIZE, Import, box, document, image, read_masks, thing, write_export, write_photo
from training.data.label_files import find_labels
from training.importing.classes import find_classes, write_classes
from training.importing.coco import ImageFinder, as_key, make_document
from training.importing.output import ImportFolder

INNER = [15.0, 15.0, 20.0, 15.0, 20.0, 20.0, 15.0, 20.0]
CATEGORIES = [{"id": 5, "name": "stem"}, {"id": 2, "name": "leaf"}]
EXPECTED = box(10, 10, 30, 30) * np.uint8(2) - box(15, 15, 20, 20)


@pytest.fixture
def content() -> dict[str, Any]:
    """One image with a small leaf on a large stem, the leaf first; and one without objects. Ids leave gaps."""
    images = [image(1, "a.jpg"), image(9, "sub/b.jpg")]
    return document(thing(1, 1, 2, segmentation=[INNER]), thing(2, 1, 5), images=images, categories=CATEGORIES)


@pytest.fixture
def file(content: dict[str, Any], tmp_path: Path) -> Path:
    return write_export(tmp_path / "export" / "labels.json", content, "a.jpg", "sub/b.jpg")


def test_objects_are_drawn_and_the_smaller_lies_on_top(run_import: Import, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # a byte order mark is no error
    assert "wrote 2 frames of 3 classes" in run_import(file)
    masks = read_masks(out)
    assert np.array_equal(masks["a"], EXPECTED)
    assert not masks["b"].any()
    assert (out / "images" / "a.jpg").read_bytes() == (file.parent / "a.jpg").read_bytes()


@pytest.mark.parametrize(("crowds", "value"), [("objects", 1), ("void", 255)])
def test_crowds_are_told_and_may_become_void(run_import: Import, crowds: str, value: int, tmp_path: Path) -> None:
    """CVAT marks every brush mask as a crowd."""
    content = document(thing() | {"iscrowd": 1}, thing(2, segmentation=[INNER]))
    told = run_import(write_export(tmp_path / "labels.json", content), "--crowds", crowds)
    assert "1 objects are marked as crowds (iscrowd 1)" in told
    mask = read_masks(tmp_path / "data")["a"]
    assert (mask[12, 12], mask[17, 17]) == (value, 1)


def of(category: Any = 5, image_id: Any = 1, **geometry: Any) -> dict[str, Any]:
    """The change of a document to one object."""
    return {"annotations": [thing(1, image_id, category, **geometry)]}


def runs(counts: Any) -> dict[str, Any]:
    return of(segmentation={"size": [*SIZE], "counts": counts})


OUTSIDE = [[100, 2, 110, 4, 105, 9]]
FAR = "has a box that is not x, y, width and height near its image"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": None}, "has no categories, but images, annotations: is it COCO's format"),
        ({"annotations": {}}, "has no annotations"),
        ({"images": [{"id": 7}]}, "an entry of images lacks file_name: {'id': 7}"),
        ({"images": [image([7], "a.jpg")]}, "an entry of images has an id that is neither a number nor a text: {'id': [7]"),
        ({"categories": [{"id": None, "name": "stem"}]}, "categories has an id that is neither a number nor a text"),
        ({"categories": [{"id": 5, "name": " "}]}, "labels.json: a category: a name must be a line of text, got ''"),
        ({"categories": [{"id": 5, "name": "a"}, {"id": 5, "name": "b"}]}, "two categories have the id 5, 'a' and 'b'"),
        ({"images": [image(7, "a.jpg"), image("7", "sub/b.jpg")]}, "two images have the id 7, 'a.jpg' and 'sub/b.jpg'"),
        ({"images": [image(7, "a" * 300 + ".jpg")]}, "aaa.jpg is in none of"),
        ({"images": [image(7, "0a1b2c3d-a.jpg"), image(9, "a.jpg")]}, "0a1b2c3d-a.jpg and a.jpg are both the image"),
        ({"images": [image(7, "a.jpg"), image(9, "sub/a.png")]}, "a.jpg and sub/a.png are both the image"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}]}, "(None, None) in the JSON, (40, 60) upright"),
        (of(3), "of the category 3, which is not listed"),
        (of([5]), "of the category [5], which is not listed"),
        (of(image_id=8), "of the image 8, which is not listed"),
        (of(image_id=[7]), "of the image [7], which is not listed"),
        (runs([3, 2]), "run lengths cover 5 pixels, the image has 40x60"),
        (runs("no!"), "not a run-length encoding: 'no!'"),
        (runs(None), "needs counts that are a text or a list; got None"),
        (of(segmentation=[[1, 2, 3, 4, 5, 1e9]]), "has points far outside its image"),
        (of(segmentation=[[0, 0, 10**400, 10, 5, 5]]), "has a polygon that does not hold numbers alone"),
        (of(bbox=[0, 0, 10**400, 9]), FAR),
        (of(bbox=[1e308, 1e308, 1e308, 1e308]), FAR),
        (of(bbox=[1, 1, 5, 5, 45]), FAR),
        ({"annotations": []}, "no pixel of its 2 images is of a class: 0 objects"),
        (of(segmentation=OUTSIDE), "of a class: 1 objects; 1 objects cover no pixel of their image"),
        (of(bbox=[1, 2, 3, 4]), "of a class: 1 objects; 1 objects have a box and no outline"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_told_with_status_2(
    run_import: Import, file: Path, content: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    changed = {name: value for name, value in (content | change).items() if value is not None}
    file.write_text(json.dumps(changed))
    assert message in run_import(file, status=2)


def test_the_folders_of_photos_that_are_missing_are_told_once(
    run_import: Import, file: Path, content: dict[str, Any], tmp_path: Path
) -> None:
    file.write_text(json.dumps(content | {"images": [image(7, "c.jpg"), image(9, "d.jpg")]}))
    told = run_import(file, status=2)
    assert f"c.jpg is in none of {tmp_path}" in told
    assert "d.jpg is in none of these folders; say with --images" in told


def test_another_split_s_classes_are_those_of_the_first_by_name(
    run_import: Import, file: Path, content: dict[str, Any], tmp_path: Path
) -> None:
    """Tools number the categories of each export by itself."""
    run_import(file, "--split", "train")
    content["categories"] = [{"id": 1, "name": "stem"}, {"id": 2, "name": "leaf"}]
    file.write_text(json.dumps(content | of(1)))
    run_import(file, "--split", "val")
    assert np.unique(read_masks(tmp_path / "data", "val")["a"]).tolist() == [0, 2]
    assert find_labels(None, tmp_path / "data").names == ["background", "leaf", "stem"]
    content["categories"].append({"id": 3, "name": "root"})
    file.write_text(json.dumps(content))
    assert "has the categories root, which" in run_import(file, "--split", "val", status=2)


def test_images_whose_masks_show_no_class_are_told(run_import: Import, file: Path, content: dict[str, Any]) -> None:
    content["images"] += [image(3, "c.jpg")]
    content["annotations"] += [thing(3, 3, 5, segmentation=OUTSIDE)]
    told = run_import(write_export(file, content, "a.jpg", "c.jpg"))
    assert "1 objects cover no pixel of their image" in told
    assert "1 frames have objects, and masks without any class: c.jpg" in told
    bare = "1 images have no objects, so their masks are background alone; if nobody has labelled them yet, remove them from"
    assert f"{bare} the export's list of images: b.jpg" in told


def test_ids_are_the_same_however_they_are_written(content: dict[str, Any], tmp_path: Path) -> None:
    """The same entry twice is one."""
    assert [as_key(value) for value in ("-1", "5.0", 5.0, 2.5, " 7 ", "a")] == [-1, 5, 5, 2.5, 7, "a"]
    written = make_document(tmp_path, content)
    for part, names in (("images", ["id", "width"]), ("categories", ["id"]), ("annotations", ["category_id"])):
        content[part] = [item | {name: str(item[name]) for name in names} for item in content[part]]
    content |= {part: content[part] * 2 for part in ("images", "categories")}
    assert make_document(tmp_path, content) == written
    content["categories"].append({"id": "plant", "name": "plant"})
    assert find_classes([make_document(tmp_path, content)], tmp_path).names == ["background", "leaf", "stem", "plant"]


@pytest.mark.parametrize("name", ["Background", "_background_"])
def test_background_is_known_by_every_way_of_writing_it(content: dict[str, Any], tmp_path: Path, name: str) -> None:
    """Categories of one name, in any Unicode form, are one class."""
    others = [{"id": 0, "name": name}, {"id": 9, "name": "Bl\u00e4tter"}, {"id": 8, "name": "Bla\u0308tter "}]
    content |= {"categories": CATEGORIES + others, "annotations": [thing(category=id_) for id_ in (2, 5, 0, 8, 9)]}
    classes = find_classes([make_document(Path("a.json"), content)], tmp_path)
    assert classes.names == ["background", "leaf", "stem", "Bl\u00e4tter"]
    assert classes.ids == [{0: 0, 2: 1, 5: 2, 8: 3, 9: 3}]


@pytest.mark.parametrize("stored", ["leaf.jp2", "leaf", ".leaf.jpg"])
def test_an_image_that_trainings_would_not_find_is_refused(file: Path, stored: str) -> None:
    (file.parent / "a.jpg").rename(file.parent / stored)
    with pytest.raises(ValueError, match=f"{stored} is no image for a training, because its name does not end in one of .png"):
        ImageFinder(file, None).find(stored)


def test_classes_of_the_folder_are_kept_and_begin_with_the_background(content: dict[str, Any], tmp_path: Path) -> None:
    """Another class 0 would be what every pixel without an object is."""
    (tmp_path / "classes.yaml").write_text("classes: [Background, stem, leaf]\n")
    documents = [make_document(tmp_path, content)]
    classes = find_classes(documents, tmp_path)
    assert (classes.names, classes.ids) == (["Background", "stem", "leaf"], [{2: 2, 5: 1}])
    write_classes(tmp_path, classes.names)
    assert [path.name for path in tmp_path.iterdir()] == ["classes.yaml"]
    (tmp_path / "classes.yaml").write_text("classes: [leaf, background, stem]\n")
    with pytest.raises(ValueError, match="yaml has the class 'leaf' as 0, but pixels without an object get 0"):
        find_classes(documents, tmp_path)


@pytest.mark.parametrize("there", ["a.jpg", "a.png"])
def test_another_image_of_the_name_is_not_written_over(file: Path, tmp_path: Path, there: str) -> None:
    """As of another task, in which the tool began to count anew."""
    write_photo(tmp_path / "images" / there, seed=1)
    (error,) = ImportFolder(tmp_path).errors("", [file.parent / "a.jpg"])
    assert f"{there} is another image than {file.parent / 'a.jpg'}, and both would have one mask" in str(error)


@pytest.mark.parametrize(("orientation", "drawn_on"), [(3, "upright"), (3, "stored"), (6, "upright"), (6, "stored")])
def test_objects_are_drawn_on_the_photo_that_is_said(
    run_import: Import, file: Path, content: dict[str, Any], orientation: int, drawn_on: str, tmp_path: Path
) -> None:
    """On the stored one, of 40x60 pixels, or on that which EXIF makes of it; a photo that is not turned is both."""
    (file.parent / "a.jpg").write_bytes(oriented(make_photo(*SIZE), "JPEG", orientation))
    expected = EXPECTED
    if drawn_on == "upright" and orientation == 6:
        content["images"][0].update(height=SIZE[1], width=SIZE[0])
        expected = np.pad(EXPECTED, ((0, 20), (0, 0)))[:, : SIZE[0]]
    file.write_text(json.dumps(content))
    told = run_import(file, "--masks-orientation", drawn_on)
    has_note = "1 images are turned by EXIF, and objects are read as drawn on the upright" in told
    assert has_note == (drawn_on == "upright" and orientation == 3)
    expected = upright(expected, orientation) if drawn_on == "stored" else expected
    assert np.array_equal(read_masks(tmp_path / "data")["a"], expected)


@pytest.mark.parametrize(
    ("names", "tolerance"),
    [
        (["background", "leaf", "stem", "berry"], None),
        (["sky", "leaf", "stem", "berry"], None),
        (["background", "leaf", "stem"], 0.0),
    ],
)
def test_our_own_answers_are_read_back(run_import: Import, tmp_path: Path, names: list[str], tolerance: float | None) -> None:
    """Pixel by pixel as run lengths, with and without a background among the classes; nearly as polygons."""
    y, x = np.mgrid[:120, :160]
    class_map = ((x - 60) ** 2 + (y - 60) ** 2 < 40**2) + ((x - 60) ** 2 + (y - 60) ** 2 < 15**2) * np.uint8(1)
    if tolerance is None:
        coarse = Image.fromarray(np.random.default_rng(5).integers(0, 4, (12, 16), np.uint8))
        class_map = np.asarray(coarse.resize((160, 120), Image.Resampling.NEAREST)).copy()
        class_map[30:40, 20:90] = 3
    answer = coco_document(class_map, numbered_labels(names).classes, range(256), "photo.png", tolerance)
    Image.fromarray(make_photo(120, 160)).save(tmp_path / "photo.png")
    (tmp_path / "coco.json").write_text(json.dumps(answer))
    run_import(tmp_path / "coco.json")
    labels = find_labels(None, tmp_path / "data")
    table = np.array([labels.names.index(name) for name in names], np.uint8)
    share = (read_masks(tmp_path / "data")["photo"] == table[class_map]).mean()
    assert share == 1 if tolerance is None else share > 0.99
