"""What COCO's JSON may hold beside plain objects: it is read, told, or an error; never background without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.training.coco import SIZE, SQUARE, Import, box, document, image, thing, write_export
from training.data.label_files import alike_names, find_labels
from training.importing.classes import Classes, find_classes
from training.importing.coco import make_document
from training.importing.exports import split_name
from training.importing.geometry import read_box, share_error
from training.importing.objects import Drawing
from training.importing.omissions import Omissions, Policy

SHARES = [0.1, 0.1, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9]
BOX = [20, 10, 20, 10]  # x, y, width, height
BOX_CORNERS = [20, 10, 40, 10, 40, 20, 20, 20]


SHARED: list[list[dict[str, Any]]] = [
    [thing(segmentation=[SHARES], bbox=[6, 4, 48, 32])],
    [thing(segmentation=[[*SHARES[:4], 0.5, 1.0], [0.0, 0.0, 0.25, 0.0, 0.25, 0.25]])],
    [thing(segmentation=SHARES)],
    [thing(segmentation=[], bbox=[0.0, 0.0, 1.0, 0.5])],
    [thing(segmentation=[SQUARE], bbox=[0.1, 0.1, 0.8, 0.8])],
    [thing(1), thing(2, segmentation=[SHARES])],
    [thing(segmentation=[[0, 0, 1, 0, 1, 1, 0, 1]])],
    [thing(bbox=[0, 0, 1, 1])],
    [thing(1), thing(2, segmentation=[[-0.002, 0.1, 1.003, 0.1, 0.5, 0.9]])],
]


@pytest.mark.parametrize("things", SHARED)
def test_shares_of_the_image_are_an_error_that_says_so(things: list[dict[str, Any]]) -> None:
    error = str(share_error(make_document(Path("a.json"), document(*things))))
    assert "a.json: all coordinates of the object" in error
    assert "lie between 0 and 1: they are shares of the image" in error


@pytest.mark.parametrize(
    "small",
    [{"segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]}, {"bbox": [0, 0, 1, 1]}, {"segmentation": [SQUARE], "bbox": [0, 0, 0, 0]}],
)
def test_an_object_of_one_pixel_at_the_corner_is_one(small: dict[str, Any]) -> None:
    runs = {"size": [40, 60], "counts": [0, 2400]}
    for other in (thing(1), thing(1, segmentation=runs)):
        assert share_error(make_document(Path("a.json"), document(other, thing(2, **small)))) is None


def turned(degrees: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The pixels whose centres lie inside the box, turned clockwise about its centre."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    angle = np.radians(degrees)
    right, down = x - 30, y - 15
    inside: np.ndarray[Any, np.dtype[np.bool_]] = (abs(right * np.cos(angle) + down * np.sin(angle)) < 10) & (
        abs(down * np.cos(angle) - right * np.sin(angle)) < 5
    )
    return inside


@pytest.mark.parametrize("degrees", [30, 90.0, -45])
@pytest.mark.parametrize("with_outline", [False, True])
def test_boxes_of_cvat_are_turned_about_their_centre(degrees: float, with_outline: bool) -> None:
    """An outline that is the box, too: it keeps its class."""
    geometry: dict[str, Any] = {"bbox": BOX, "attributes": {"occluded": False, "rotation": degrees}}
    if with_outline:
        geometry["segmentation"] = [BOX_CORNERS]
    region = Drawing({1: 1}, Omissions(), "a.json").mask([thing(**geometry)], SIZE) == (1 if with_outline else 255)
    assert np.count_nonzero(region != turned(degrees)) <= 20  # of 200 pixels, at the borders
    assert abs(np.count_nonzero(region) - 200) <= 20


@pytest.mark.parametrize("attributes", [{"rotation": 0}, {"rotation": None}, {"rotation": 360}, {}, None, [1]])
def test_a_box_that_is_not_turned_stays(attributes: Any) -> None:
    assert read_box(thing(bbox=BOX, attributes=attributes), SIZE) == BOX


NO_AREA = "are left out, since they have no area"
UNKNOWN: list[tuple[dict[str, Any], str]] = [
    ({"rbox": [30, 15, 20, 10, 30]}, "objects with the key 'rbox' and without a segmentation"),
    ({"bbox": BOX, "rbox": [30, 15, 20, 10, 30]}, "objects with the key 'rbox' and without a segmentation"),
    ({"segmentation": [], "bbox": BOX, "polygon": [[1, 2], [9, 2], [9, 9]]}, "objects with the key 'polygon'"),
    ({"bbox": BOX, "png": "data:image/png;base64," + "iVBORw0KGgo" * 20}, "objects with the key 'png'"),
    ({"bbox": BOX, "bitmap": {"data": "eJzrDPBz" * 20, "origin": [1, 2]}}, "objects with the key 'bitmap'"),
    ({"bbox": BOX, "rotation": 30}, "objects with the key 'rotation'"),
    ({"bbox": BOX, "angle": 0.5}, "objects with the key 'angle'"),
    ({"segmentation": [BOX_CORNERS], "bbox": BOX, "rotation": 30}, "has a polygon that is its box, and the key 'rotation'"),
    ({"segmentation": [BOX_CORNERS], "bbox": BOX, "Angle": 0.5}, "has a polygon that is its box, and the key 'Angle'"),
    ({"bbox": BOX, "mask": {"size": [40, 60], "counts": "x"}}, "objects with the key 'mask'"),
    ({"segmentation": []}, "objects without a segmentation and without a box"),
    ({"segmentation": [[]], "bbox": []}, "objects without a segmentation and without a box"),
    ({"segmentation": None}, "objects without a segmentation and without a box"),
    ({"segmentation": "path M 1 2", "bbox": BOX}, "needs polygons, or run lengths"),
    ({"segmentation": {}, "bbox": BOX}, "needs polygons, or run lengths"),
    ({"segmentation": 0, "bbox": BOX}, "needs polygons, or run lengths"),
    ({"segmentation": {"size": [40, 60], "counts": [0, 2400], "offset": [3, 4]}}, "counts and size alone"),
    ({"segmentation": {"size": [20, 30], "counts": [0, 600]}, "bbox": BOX}, "is in (20, 30) pixels, its image in (40, 60)"),
    ({"segmentation": [SQUARE, SQUARE[:-1]], "bbox": BOX}, "a polygon of 7 numbers"),
    ({"segmentation": [SQUARE, [1, 2, 3]], "bbox": BOX}, "a polygon of 3 numbers"),
    ({"segmentation": [SQUARE, [1, 2, "3", 4, 5, 6]], "bbox": BOX}, "does not hold numbers alone"),
    ({"segmentation": [SQUARE, [[1, 2], [3, 4]]], "bbox": BOX}, "needs polygons as x and y in turn"),
    ({"segmentation": [SQUARE, {"size": [40, 60], "counts": [0, 2400]}], "bbox": BOX}, "needs polygons as x and y"),
    ({"segmentation": [SQUARE], "bbox": BOX, "iscrowd": "yes"}, "has an iscrowd that is neither 0 nor 1: 'yes'"),
    ({"segmentation": [SQUARE], "bbox": BOX, "iscrowd": 2}, "has an iscrowd that is neither 0 nor 1: 2"),
    ({"segmentation": [SQUARE, None], "bbox": BOX}, "needs polygons as x and y in turn"),
    *(({"bbox": BOX, "attributes": {"rotation": value}}, "has a rotation that is no number") for value in ("30", True, [30])),
]


def drawn(policy: Policy, geometry: dict[str, Any]) -> tuple[Any, Omissions]:
    """The mask of a square of class 1 and of an object with this geometry."""
    omissions = Omissions(policy)
    return Drawing({1: 1}, omissions, "a.json").mask([thing(1), thing(2, **geometry)], SIZE), omissions


@pytest.mark.parametrize(("geometry", "message"), UNKNOWN)
def test_geometry_that_is_not_known_is_an_error_or_becomes_void(geometry: dict[str, Any], message: str) -> None:
    """In its box, or in the whole image but its other objects; never in a part of the object."""
    _, omissions = drawn("error", geometry)
    (error,) = [*omissions.errors(), *omissions.object_errors]
    assert message in str(error)
    mask, omissions = drawn("void", geometry)
    (note,) = omissions.notes()
    assert "cannot be read and are void" in note
    is_boxed = bool(geometry.get("bbox")) and "rotation that is no number" not in message
    expected = np.full(SIZE, 0 if is_boxed else 255, np.uint8)
    expected[10:30, 10:30] = 1
    if is_boxed:
        expected[10:20, 20:40] = 255
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("geometry", "note"),
    [
        ({"keypoints": [5, 5, 2, 9, 9, 2], "num_keypoints": 2}, f"objects with keypoints alone {NO_AREA}"),
        ({"segmentation": [[1, 2, 3, 4]]}, f"outlines of one or two points {NO_AREA}"),
        ({"segmentation": [SQUARE, [50, 2, 55, 9]]}, f"outlines of one or two points {NO_AREA}"),
        ({"segmentation": [SQUARE], "holes": [[15, 15, 20, 15, 20, 20]]}, "objects with the key 'holes', which is not read"),
        ({"segmentation": [SQUARE], "path": "M 10 10 L 20 10 " * 10}, "objects with the key 'path', which is not read"),
        ({"segmentation": [SQUARE], "score": 0.5, "tag": "x"}, None),
    ],
)
def test_what_has_no_area_and_further_numbers_are_left_out_and_told(geometry: dict[str, Any], note: str | None) -> None:
    mask, omissions = drawn("error", geometry)
    assert np.array_equal(mask, box(10, 10, 30, 30))
    assert omissions.notes() == ([f"1 {note}"] if note else [])


@pytest.mark.parametrize(
    ("place", "edges"),
    [
        ([40.0, 5.0, 10.5, 20.0], (40, 5, 51, 25)),
        ([-10, -10, 15, 15], (0, 0, 5, 5)),
        ([55, 35, 20, 20], (55, 35, 60, 40)),
        ([30, 5, -4, 3], (0, 0, 0, 0)),
    ],
)
def test_a_box_without_an_outline_is_void_in_the_image_and_told(place: list[float], edges: tuple[int, int, int, int]) -> None:
    mask, omissions = drawn("error", {"bbox": place})
    assert np.array_equal(mask, np.where(box(*edges), 255, box(10, 10, 30, 30)))
    assert "1 objects have a box and no outline" in omissions.notes()[0]


def write_splits(root: Path, **documents: dict[str, Any]) -> Path:
    """Roboflow's folders, each with a photo of its split's name."""
    for split, content in documents.items():
        write_export(root / split / "_annotations.coco.json", content, f"{split}.png")
    return root


def split_document(split: str, category: int) -> dict[str, Any]:
    """The category `plants` groups `leaf`, and may have objects as well."""
    categories = [{"id": 0, "name": "plants", "supercategory": "none"}, {"id": 1, "name": "leaf", "supercategory": "plants"}]
    return document(thing(category=category), images=[image(1, f"{split}.png")], categories=categories)


def classes_of(out: Path, *contents: dict[str, Any]) -> Classes:
    return find_classes([make_document(Path("a.json"), content) for content in contents], out)


@pytest.mark.parametrize("categories", [(1, 0), (1, 0, 1), (0,)])
def test_a_group_that_is_a_class_in_one_split_is_one_in_all(tmp_path: Path, categories: tuple[int, ...]) -> None:
    classes = classes_of(tmp_path, *(split_document("train", category) for category in categories))
    assert (classes.names, classes.groups) == (["background", "plants", "leaf"], [])
    assert classes.ids == [{0: 1, 1: 2}] * len(categories)


def test_a_group_of_all_splits_is_no_class(run_import: Import, tmp_path: Path) -> None:
    """Its name is not compared with those of classes."""
    train, valid = split_document("train", 1), split_document("valid", 1)
    for content in (train, valid):
        content["categories"][0]["name"] = content["categories"][1]["supercategory"] = "Leaf"
    stdout = run_import(write_splits(tmp_path / "export", train=train, valid=valid))
    assert find_labels(None, tmp_path / "data").names == ["background", "leaf"]
    assert "only group other categories: Leaf" in stdout
    assert "have nearly one name" not in stdout
    train["categories"].append({"id": 2, "name": "LEAF"})
    (tmp_path / "data" / "classes.json").unlink()
    assert "have nearly one name" in run_import(write_splits(tmp_path / "export", train=train))


def test_a_class_of_one_split_alone_is_one_of_the_data_set(tmp_path: Path) -> None:
    """The first class may have the id 0."""
    train, valid = split_document("train", 1), split_document("valid", 1)
    valid["categories"] = [{"id": 0, "name": "stem"}, {"id": 2, "name": "leaf"}]
    classes = classes_of(tmp_path, train, valid)
    assert classes.names == ["background", "leaf", "stem"]
    assert classes.ids == [{1: 1}, {0: 2, 2: 1}]


def test_errors_of_all_documents_are_told_at_once_and_nothing_is_written(run_import: Import, tmp_path: Path) -> None:
    train, test, valid = (split_document(split, 1) for split in ("train", "test", "valid"))
    train["annotations"][0]["segmentation"] = [SQUARE[:-1]]
    test["annotations"][0]["segmentation"] = [SHARES]
    valid["categories"][1]["name"] = None
    broken = split_document("broken", 1)
    broken["images"] = [3, {"id": 1, "file_name": 5}, {"id": 2, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    root = write_splits(tmp_path / "export", train=train, test=test, valid=valid, broken=broken)
    (root / "valid" / "valid.png").unlink()
    (root / "none").mkdir()
    (root / "none" / "_annotations.coco.json").write_text("{")
    stderr = run_import(root, status=2)
    objects = ("polygon of 7 numbers", "shares of the image", "a name must be a text", "valid.png is in none of")
    entries = ("lacks file_name, id: 3", "must be a text, got {", "two images have the id 2")
    for message in (*objects, *entries, "none/_annotations.coco.json is not JSON"):
        assert message in stderr
    assert not (tmp_path / "data").exists()


def test_a_photo_of_two_documents_of_one_split_is_an_error(run_import: Import, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_export(tmp_path / "annotations" / f"instances_{name}.json", document(thing()), "a.png")
    assert "are both the image" in run_import(tmp_path, status=2)


@pytest.mark.parametrize(
    ("names", "has_remark"),
    [
        (["person", "PERSON "], True), (["traffic-light", "TrafficLight"], True), (["traffic light", "traffic_light"], True),
        (["\uff4ceaf", "leaf"], True), (["Bl\u00e4tter", "Bla\u0308tter"], False), (["leaf", "leaves"], False),
        (["roof", " roof "], False),
    ],
)  # fmt: skip
def test_names_that_may_mean_one_class_are_told(names: list[str], has_remark: bool) -> None:
    assert bool(alike_names(["stem", *names])) == has_remark


def test_a_split_has_the_name_that_training_looks_for() -> None:
    assert [split_name(text) for text in ("Train", "valid", "Validation", "x", "")] == ["train", "val", "val", "x", ""]
    for text in ("../x", "a/b", "/x"):
        with pytest.raises(ValueError, match="--split must be a name without folders"):
            split_name(text)
