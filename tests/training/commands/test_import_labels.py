"""COCO's JSON becomes a folder of images and masks that `fcn-train` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from imaging.coco import coco_document
from model.labels import numbered_labels
from tests.support.images import make_photo
from tests.support.imaging.samples import oriented, upright
from tests.support.training.coco import Import
from training.commands.import_labels import main
from training.data.label_files import find_labels
from training.importing.classes import find_classes
from training.importing.coco import ImageFinder, as_key, make_document

HEIGHT, WIDTH = 40, 60
SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]
Run = Callable[..., int]
INNER = [15.0, 15.0, 20.0, 15.0, 20.0, 20.0, 15.0, 20.0]


def entry(category: Any, segmentation: Any, image: Any = 7, crowd: int = 0) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": crowd}


def image(id_: Any, file_name: Any) -> dict[str, Any]:
    return {"id": id_, "file_name": file_name, "height": HEIGHT, "width": WIDTH}


@pytest.fixture
def document() -> dict[str, Any]:
    """One image with a small leaf on a large stem, the leaf first; and one without objects. Ids leave gaps."""
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "sub/b.jpg"}]
    return {
        "images": [image | {"height": HEIGHT, "width": WIDTH} for image in images],
        "categories": [{"id": 5, "name": "stem"}, {"id": 2, "name": "leaf"}],
        "annotations": [entry(2, [INNER]), entry(5, [SQUARE])],
    }


@pytest.fixture
def file(document: dict[str, Any], tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/b.jpg"):
        Image.fromarray(make_photo(HEIGHT, WIDTH)).save(folder / name)
    (folder / "labels.json").write_text(json.dumps(document))
    return folder / "labels.json"


@pytest.fixture
def run(file: Path, document: dict[str, Any], tmp_path: Path) -> Run:
    """Writes the document, as the test has changed it, and imports it; gives the exit status."""

    def write_and_import(*options: str) -> int:
        file.write_text(json.dumps(document))
        return main([str(file), "--out", str(tmp_path / "data"), *options])

    return write_and_import


def masks(out: Path, split: str = "") -> dict[str, Any]:
    return {path.stem: np.asarray(Image.open(path)) for path in (out / "masks" / split).glob("*.png")}


def test_objects_are_drawn_and_the_smaller_lies_on_top(run_import: Import, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # a byte order mark is no error
    assert "wrote 2 frames of 3 classes" in run_import(file)
    masks_by_name = masks(out)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:30, 10:30] = 2
    expected[15:20, 15:20] = 1
    assert np.array_equal(masks_by_name["a"], expected)
    assert not masks_by_name["b"].any()
    assert (out / "images" / "a.jpg").read_bytes() == (file.parent / "a.jpg").read_bytes()


@pytest.mark.parametrize(("crowds", "value"), [("objects", 1), ("void", 255)])
def test_run_lengths_are_read_and_crowds_are_told(
    run: Run, document: dict[str, Any], tmp_path: Path, crowds: str, value: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """CVAT marks every brush mask as a crowd."""
    region = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    region[5:35, 2:50] = 1
    packed = run_lengths.encode(region)
    packed["counts"] = packed["counts"].decode()
    flat = region.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    small = {"size": [HEIGHT, WIDTH], "counts": [3, 2, HEIGHT * WIDTH - 5]}
    for segmentation in (packed, {"size": [HEIGHT, WIDTH], "counts": counts}):
        document["annotations"] = [entry(5, segmentation), entry(2, small, crowd=1)]
        assert run("--crowds", crowds) == 0
        assert "1 objects are marked as crowds (iscrowd 1)" in capsys.readouterr().out
        expected = 2 * region
        expected[3:5, 0] = value
        assert np.array_equal(masks(tmp_path / "data")["a"], expected)


def box(*values: float) -> dict[str, Any]:
    return {"annotations": [entry(5, []) | {"bbox": list(values)}]}


OUTSIDE = [[100, 2, 110, 4, 105, 9]]
FAR = "has a box that is not x, y, width and height near its image"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": None}, "has no categories, but images, annotations: is it COCO's format"),
        ({"annotations": {}}, "has no annotations"),
        ({"categories": [3]}, "an entry of categories lacks id, name: 3"),
        ({"images": [{"id": 7}]}, "an entry of images lacks file_name: {'id': 7}"),
        ({"images": [image([7], "a.jpg")]}, "an entry of images has an id that is neither a number nor a text: {'id': [7]"),
        ({"images": [image(7, None)]}, "the file_name of an image must be a text, got {'id': 7, 'file_name': None"),
        ({"categories": [{"id": None, "name": "stem"}]}, "categories has an id that is neither a number nor a text"),
        ({"categories": [{"id": 5, "name": None}]}, "labels.json: a category: a name must be a text"),
        ({"categories": [{"id": 5, "name": " "}]}, "labels.json: a category: a name must be a line of text, got ''"),
        (
            {"categories": [{"id": 5, "name": "a"}, {"id": 5, "name": "b"}]},
            "two categories have the id 5, 'a' and 'b'",
        ),
        ({"images": [image(7, "a.jpg"), image("7", "sub/b.jpg")]}, "two images have the id 7, 'a.jpg' and 'sub/b.jpg'"),
        ({"images": [image(7, "c.jpg")]}, "c.jpg is in none of"),
        ({"images": [image(7, "a" * 300 + ".jpg")]}, "aaa.jpg is in none of"),
        ({"images": [image(7, "0a1b2c3d-a.jpg"), image(9, "a.jpg")]}, "0a1b2c3d-a.jpg and a.jpg are both the image"),
        ({"images": [image(7, "a.jpg"), image(9, "sub/a.png")]}, "a.jpg and sub/a.png are both the image"),
        ({"images": [{"id": 7, "file_name": "a.jpg"}]}, "(None, None) in the JSON, (40, 60) upright"),
        ({"annotations": [entry(3, [SQUARE])]}, "of the category 3, which is not listed"),
        ({"annotations": [entry([5], [SQUARE])]}, "of the category [5], which is not listed"),
        ({"annotations": [entry(5, [SQUARE], image=8)]}, "of the image 8, which is not listed"),
        ({"annotations": [entry(5, [SQUARE], image=[7])]}, "of the image [7], which is not listed"),
        ({"annotations": [entry(5, {"size": [40, 60], "counts": [3, 2]})]}, "run lengths cover 5 pixels, the image has 40x60"),
        ({"annotations": [entry(5, {"size": [40, 60], "counts": "no!"})]}, "not a run-length encoding: 'no!'"),
        ({"annotations": [entry(5, {"size": [40, 60], "counts": None})]}, "needs counts that are a text or a list; got None"),
        ({"annotations": [entry(5, [[1, 2, 3, 4, 5, 1e9]])]}, "has points far outside its image"),
        ({"annotations": [entry(5, [[0, 0, 10**400, 10, 5, 5]])]}, "has a polygon that does not hold numbers alone"),
        ({"annotations": [entry(5, [[1, 2], [9, 2], [9, 9]])]}, "needs polygons as x and y in turn"),
        ({"annotations": [entry(5, SQUARE[:-1])]}, "has a polygon of 7 numbers, but x and y need an even number"),
        (box(0, 0, 10**400, 9), FAR),
        (box(1e308, 1e308, 1e308, 1e308), FAR),
        (box(1, 1, 5, 5, 45), FAR),
        ({"annotations": []}, "no pixel of its 2 images is of a class: 0 objects"),
        ({"annotations": [entry(5, OUTSIDE)]}, "of a class: 1 objects; 1 objects cover no pixel of their image"),
        (box(1, 2, 3, 4), "of a class: 1 objects; 1 objects have a box and no outline"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_told_with_status_2(
    run_import: Import, file: Path, document: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    changed = {name: value for name, value in (document | change).items() if value is not None}
    file.write_text(json.dumps(changed))
    assert message in run_import(file, status=2)


def test_a_file_that_is_no_json_is_told(run_import: Import, tmp_path: Path) -> None:
    for content in ("no", "[" * 100_000, '{"annotations": [{"area": NaN}]}', '{"images": [], "images": []}'):
        (tmp_path / "a.json").write_text(content)
        assert "a.json is not JSON" in run_import(tmp_path / "a.json", status=2)


def test_another_split_s_classes_are_those_of_the_first_by_name(
    run_import: Import, file: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    """Tools number the categories of each export by itself."""
    out = tmp_path / "data"
    assert main([str(file), "--out", str(out), "--split", "train"]) == 0
    document["categories"] = [{"id": 1, "name": "stem"}, {"id": 2, "name": "leaf"}]
    document["annotations"] = [entry(1, [SQUARE])]
    file.write_text(json.dumps(document))
    assert main([str(file), "--out", str(out), "--split", "val"]) == 0
    assert sorted(np.unique(masks(out, "val")["a"])) == [0, 2]
    assert find_labels(None, out).names == ["background", "leaf", "stem"]
    document["categories"].append({"id": 3, "name": "root"})
    file.write_text(json.dumps(document))
    assert "has the categories root, which" in run_import(file, "--split", "val", status=2)


def test_boxes_without_an_outline_are_void_and_told(
    run: Run, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = {"bbox": [40.0, 5.0, 10.5, 20.0]}
    document["annotations"] = [entry(5, [SQUARE]), entry(2, []) | box, entry(2, [[1.0, 2.0, 3.0, 4.0]])]
    assert run() == 0
    stdout = capsys.readouterr().out
    assert "1 objects have a box and no outline" in stdout
    assert "1 outlines of one or two points are left out, since they have no area" in stdout
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:30, 10:30] = 2
    expected[5:25, 40:51] = 255
    assert np.array_equal(masks(tmp_path / "data")["a"], expected)


def test_all_that_is_wrong_is_told_at_once(run: Run, document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    document["images"].append({"id": 11, "file_name": "gone.jpg", "height": 40, "width": 60})
    document["annotations"] = [entry(5, {"size": [40, 60], "counts": [1]}), entry(3, [SQUARE]), entry(5, [SQUARE], image=8)]
    assert run() == 2
    stderr = capsys.readouterr().err
    assert "4 errors in the data set:" in stderr
    for message in ("cover 1 pixels", "of the category 3", "of the image 8", "gone.jpg is in none of"):
        assert message in stderr


def test_frames_whose_labels_vanished_are_told(run: Run, document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    document["annotations"] += [entry(5, [[100, 2, 110, 4, 105, 9]], image=9)]
    assert run() == 0
    stdout = capsys.readouterr().out
    assert "1 objects cover no pixel of their image" in stdout
    assert "1 frames have objects, and masks without any class: b.jpg" in stdout


def test_ids_may_be_written_as_text(run: Run, document: dict[str, Any], tmp_path: Path) -> None:
    for part, names in (("images", ["id", "width"]), ("categories", ["id"]), ("annotations", ["category_id"])):
        for item in document[part]:
            item.update({name: str(item[name]) for name in names})
    document["categories"].append({"id": "plant", "name": "plant"})
    document["annotations"].append(entry("plant", [[40, 0, 60, 0, 60, 40, 40, 40]]))
    for part in ("images", "categories"):
        document[part] *= 2  # the same entry twice is one
    assert run() == 0
    assert find_labels(None, tmp_path / "data").names == ["background", "leaf", "stem", "plant"]
    assert sorted(np.unique(masks(tmp_path / "data")["a"])) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["Background", "_background_"])
def test_background_is_known_by_every_way_of_writing_it(document: dict[str, Any], tmp_path: Path, name: str) -> None:
    """Categories of one name, in any Unicode form, are one class."""
    document["categories"] += [{"id": 0, "name": name}, {"id": 9, "name": "Bl\u00e4tter"}, {"id": 8, "name": "Bla\u0308tter "}]
    document["annotations"] += [entry(id_, [SQUARE]) for id_ in (0, 8, 9)]
    classes = find_classes([make_document(Path("a.json"), document)], tmp_path)
    assert classes.names == ["background", "leaf", "stem", "Bl\u00e4tter"]
    assert classes.ids == [{0: 0, 2: 1, 5: 2, 8: 3, 9: 3}]


@pytest.mark.parametrize("stored", ["leaf.jp2", "leaf", ".leaf.jpg"])
def test_an_image_that_trainings_would_not_find_is_refused(file: Path, stored: str) -> None:
    (file.parent / "a.jpg").rename(file.parent / stored)
    with pytest.raises(ValueError, match=f"{stored} is no image for a training, because its name does not end in one of .png"):
        ImageFinder(file, None).find(stored)


def test_ids_are_the_same_however_they_are_written() -> None:
    assert [as_key(value) for value in ("-1", "5.0", 5.0, 2.5, " 7 ", "a")] == [-1, 5, 5, 2.5, 7, "a"]


def test_a_box_that_reaches_out_of_the_image_is_void_inside_it_alone(
    run: Run, document: dict[str, Any], tmp_path: Path
) -> None:
    boxes = [[-10, -10, 15, 15], [55, 35, 20, 20], [30, 5, -4, 3]]
    document["annotations"] = [entry(5, [SQUARE]), *(entry(5, []) | {"bbox": box} for box in boxes)]
    assert run() == 0
    mask = masks(tmp_path / "data")["a"]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:30, 10:30], expected[:5, :5], expected[35:, 55:] = 2, 255, 255
    assert np.array_equal(mask, expected)


def test_classes_without_the_background_first_are_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their class 0 would be what every pixel without an object is."""
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["leaf", "background", "stem"]}))
    assert main([str(file), "--out", str(tmp_path)]) == 2
    assert "classes.json has the class 'leaf' as 0, but pixels without an object get 0" in capsys.readouterr().err


def test_classes_in_yaml_are_those_of_the_folder(file: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [Background, stem, leaf]\n")
    assert main([str(file), "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "classes.json").exists()
    assert find_labels(None, tmp_path).names == ["Background", "stem", "leaf"]
    assert np.count_nonzero(masks(tmp_path)["a"] == 2) == 25


@pytest.mark.parametrize("there", ["a.jpg", "a.png"])
def test_another_image_of_the_name_is_not_written_over(
    file: Path, tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of another task, in which the tool began to count anew."""
    (tmp_path / "images").mkdir()
    Image.fromarray(make_photo(HEIGHT, WIDTH, seed=1)).save(tmp_path / "images" / there)
    before = (tmp_path / "images" / there).read_bytes()
    assert main([str(file), "--out", str(tmp_path)]) == 2
    assert f"{there} is another image than {file.parent / 'a.jpg'}" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "images").iterdir()] == [there]
    assert (tmp_path / "images" / there).read_bytes() == before


@pytest.mark.parametrize(("orientation", "drawn_on"), [(3, "upright"), (3, "stored"), (6, "upright"), (6, "stored")])
def test_objects_are_drawn_on_the_photo_that_is_said(
    file: Path, document: dict[str, Any], orientation: int, drawn_on: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the stored one, of 40x60 pixels, or on that which EXIF makes of it; a photo that is not turned is both."""
    (file.parent / "a.jpg").write_bytes(oriented(make_photo(HEIGHT, WIDTH), "JPEG", orientation))
    if drawn_on == "upright" and orientation == 6:
        document["images"][0].update(height=WIDTH, width=HEIGHT)
    file.write_text(json.dumps(document))
    out = file.parent / "data"
    assert main([str(file), "--out", str(out), "--masks-orientation", drawn_on]) == 0
    has_note = "1 images are turned by EXIF, and objects are read as drawn on the upright" in capsys.readouterr().out
    assert has_note == (drawn_on == "upright" and orientation == 3)
    size = (WIDTH, HEIGHT) if orientation == 6 and drawn_on == "upright" else (HEIGHT, WIDTH)
    expected = np.zeros(size, np.uint8)
    expected[10:30, 10:30] = 2
    expected[15:20, 15:20] = 1
    assert np.array_equal(masks(out)["a"], upright(expected, orientation) if drawn_on == "stored" else expected)


def test_an_object_on_a_photo_on_its_side_is_an_error_that_names_the_switch(run_import: Import, file: Path) -> None:
    (file.parent / "a.jpg").write_bytes(oriented(make_photo(HEIGHT, WIDTH), "JPEG", 6))
    assert "(40, 60) in the JSON, (60, 40) upright; EXIF turns it: --masks-orientation says" in run_import(file, status=2)


@pytest.mark.parametrize("names", [["background", "leaf", "stem", "berry"], ["sky", "leaf", "stem", "berry"]])
def test_our_own_answers_are_read_back_pixel_by_pixel(tmp_path: Path, names: list[str]) -> None:
    """As run lengths, with and without a background among the classes."""
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 4, (12, 16), np.uint8))
    class_map = np.asarray(coarse.resize((160, 120), Image.Resampling.NEAREST)).copy()
    class_map[30:40, 20:90] = 3
    document = coco_document(class_map, numbered_labels(names).classes, range(256), "photo.png", None)
    Image.fromarray(make_photo(120, 160)).save(tmp_path / "photo.png")
    (tmp_path / "coco.json").write_text(json.dumps(document))
    assert main([str(tmp_path / "coco.json"), "--out", str(tmp_path / "data")]) == 0
    labels = find_labels(None, tmp_path / "data")
    table = np.array([labels.names.index(name) for name in names], np.uint8)
    assert np.array_equal(masks(tmp_path / "data")["photo"], table[class_map])


def test_our_own_polygons_are_read_back_nearly(tmp_path: Path) -> None:
    y, x = np.mgrid[:120, :160]
    class_map = ((x - 60) ** 2 + (y - 60) ** 2 < 40**2).astype(np.uint8)
    class_map[(x - 60) ** 2 + (y - 60) ** 2 < 15**2] = 2
    document = coco_document(class_map, numbered_labels(["background", "leaf", "stem"]).classes, range(256), "photo.png", 0.0)
    Image.fromarray(make_photo(120, 160)).save(tmp_path / "photo.png")
    (tmp_path / "coco.json").write_text(json.dumps(document))
    assert main([str(tmp_path / "coco.json"), "--out", str(tmp_path / "data")]) == 0
    assert (masks(tmp_path / "data")["photo"] == class_map).mean() > 0.99
