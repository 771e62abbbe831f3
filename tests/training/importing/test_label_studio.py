"""Every kind of region of Label Studio is drawn as the tool shows it, or told; none becomes background without a word."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.training.coco import SIZE, Import, Region, box, drawn
from tests.support.training.label_tools import Ids, label_studio_result, png_text, write_label_studio_results
from training.importing.label_studio.geometry import draw
from training.importing.label_studio.tasks import find_image_field, read_label_studio
from training.importing.omissions import Omissions, Policy
from training.importing.outlines import check_size, decode_painted, ellipse_corners

VOID = 255
Task = dict[str, Any]


def percent(*points: tuple[float, float]) -> list[list[float]]:
    """Points in pixels of an image of `SIZE`, in percent."""
    return [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in points]


SQUARE = {"points": percent((10, 5), (40, 5), (40, 25), (10, 25)), "closed": True}
LEAF = label_studio_result("polygonlabels", "leaf", points=percent((0, 0), (4, 0), (4, 4), (0, 4)), closed=True)
STEM = label_studio_result("polygonlabels", "stem", **SQUARE)
IN_CORNER, IN_SQUARE = box(0, 0, 4, 4), box(10, 5, 40, 25)


def task(*results: Mapping[str, Any], **changes: Any) -> Task:
    return {"id": 1, "data": {"image": "0.png"}, "annotations": [{"result": [*results]}]} | changes


def read(*tasks: Task, policy: Policy = "error", field: str | None = None) -> tuple[list[Ids], str]:
    """The masks of tasks, and what is told of them."""
    omissions = Omissions(policy)
    return drawn(read_label_studio(Path("project.json"), tasks, omissions, field), omissions)


def painted(region: Region, mode: str) -> str:
    """A bitmask as a data URL: black on transparent as Label Studio writes it, or white on black."""
    pixels = np.asarray(Image.fromarray(region.astype(np.uint8) * 255).convert(mode))
    if mode in ("LA", "RGBA"):
        pixels = np.zeros((*SIZE, len(mode)), np.uint8)
        pixels[..., -1] = region * 255
    return f"data:image/png;base64,{png_text(pixels)}"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "1", "RGB"])
def test_a_bitmask_is_what_was_painted(mode: str) -> None:
    np.testing.assert_array_equal(decode_painted(painted(IN_SQUARE, mode), SIZE), IN_SQUARE)
    (mask,), _ = read(task(label_studio_result("bitmasklabels", "stem", imageDataURL=painted(IN_SQUARE, mode))))
    np.testing.assert_array_equal(mask == 2, IN_SQUARE)


def test_soft_edges_of_a_bitmask_are_painted_from_the_half_on() -> None:
    pixels = np.zeros((*SIZE, 4), np.uint8)
    pixels[3, 5:8, 3] = 127, 128, 255
    np.testing.assert_array_equal(decode_painted(f"data:image/png;base64,{png_text(pixels)}", SIZE), box(6, 3, 8, 4))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"data:image/png;base64,{png_text(np.zeros((40, 59, 4), np.uint8))}", "a PNG of 60x40 pixels, got a PNG of 59x40"),
        (f"data:image/png;base64,{png_text(np.zeros((40, 60), np.uint8))[:60]}", "needs a PNG in base64"),
        ("data:image/png;base64,?", "needs a PNG in base64"),
        ("data:image/jpeg;base64,AAAA", "needs a PNG as data:image/png;base64"),
        (None, "needs a PNG as data:image/png;base64"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bitmask_that_is_none_is_told(url: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_painted(url, SIZE)


def corner(x: float, y: float, **others: Any) -> dict[str, Any]:
    (point,) = percent((x, y))
    return {"x": point[0], "y": point[1], "isBezier": False, **others}


def test_a_closed_vector_is_a_polygon_along_its_links() -> None:
    """The second vertex was inserted later, so it stands last; the open path is a line."""
    square = [corner(10, 5), corner(40, 25), corner(10, 25), corner(40, 5)]
    for vertex, name, previous in zip(square, "acdb", (None, "b", "c", "a"), strict=True):
        vertex |= {"id": name, "prevPointId": previous}
    closed = label_studio_result("vectorlabels", "leaf", vertices=square, closed=True)
    line = label_studio_result("vectorlabels", "stem", vertices=square[:2], closed=False)
    (mask,), told = read(task(closed, line))
    np.testing.assert_array_equal(mask, IN_SQUARE)
    assert told == "1 regions of the type vectorlabels are left out, since they have no area"


@pytest.mark.parametrize(
    ("previous", "others", "message"),
    [("-aac", {}, "its vertices branch"), ("-abc", {"isBezier": True, "controlPoint1": {"x": 1, "y": 2}}, "has curves")],
)
def test_vectors_that_branch_or_bend_are_told(previous: str, others: dict[str, Any], message: str) -> None:
    vertices = [corner(10, 5), corner(40, 5), corner(40, 25, **others), corner(10, 25)]
    for vertex, name, before in zip(vertices, "abcd", previous, strict=True):
        vertex |= {"id": name, "prevPointId": before.strip("-")}
    with pytest.raises(ValueError, match=message):
        draw({"vertices": vertices, "closed": True}, SIZE)


def test_a_box_is_turned_about_its_upper_left_corner_and_an_ellipse_about_its_centre() -> None:
    """Percent of width and height differ in pixels, in which angles are right."""
    place = {"x": 50, "y": 25, "width": 100 * 20 / 60, "height": 20}
    assert draw(place, SIZE) == {"bbox": [30, 10, 20, 8]}
    turned = draw(place | {"rotation": 30}, SIZE)["bbox"]
    across, down = cos(pi / 6), sin(pi / 6)
    assert turned[:4] == pytest.approx([30, 10, 30 + 20 * across, 10 + 20 * down])
    assert turned[6:] == pytest.approx([30 - 8 * down, 10 + 8 * across])
    ellipse = draw({"x": 50, "y": 25, "radiusX": 10, "radiusY": 5, "rotation": 30}, SIZE)
    assert ellipse == {"segmentation": [ellipse_corners((30, 10), (6, 2), 30)]}


def test_labels_beside_their_shape_and_answers_about_it_belong_together() -> None:
    """As the tags Polygon and Labels write them; the labels may repeat the shape, with a rotation of 0, or lack it."""
    whole = label_studio_result("polygon", **SQUARE)
    labels = whole | {"type": "labels", "value": {"labels": ["leaf"]}}
    repeated = whole | {"type": "labels", "value": {**SQUARE, "labels": ["leaf"]}}
    answer = whole | {"type": "choices", "value": {**SQUARE, "choices": ["sick"]}}
    about_all = {"id": "q", "type": "choices", "to_name": "image", "value": {"choices": ["sunny"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    boxed = label_studio_result("rectangle", x=50, y=25, width=50, height=25)
    named = boxed | {"type": "labels", "value": boxed["value"] | {"rotation": 0, "labels": ["leaf"]}}
    results = ([whole, labels], [whole, repeated, answer, about_all, relation], [repeated, LEAF, boxed, named])
    (first, second, third), told = read(*(task(*each) for each in results))
    for mask in (first, second):
        np.testing.assert_array_equal(mask, IN_SQUARE)
    in_box = box(30, 10, 60, 20)
    np.testing.assert_array_equal(third, np.where(in_box, VOID, IN_SQUARE | IN_CORNER))
    assert "1 answers of the type choices about a whole image are left out" in told
    assert "1 relations between regions are left out" in told


def test_what_is_wrong_becomes_void_where_the_user_wants_it() -> None:
    """Two labels of one region, whose place is known, and a bitmask that is cut off, whose place is not."""
    both = label_studio_result("polygonlabels", "leaf", "stem", **SQUARE)
    broken = label_studio_result("bitmasklabels", "stem", imageDataURL="data:image/png;base64,AAAA")
    (first, second), told = read(task(LEAF, both), task(LEAF, broken), policy="void")
    np.testing.assert_array_equal(first, IN_CORNER * 1 + IN_SQUARE * VOID)
    np.testing.assert_array_equal(second, np.where(IN_CORNER, 1, VOID))
    assert "2 regions with errors cannot be read and are void" in told
    for message in ("has the labels leaf, stem; a pixel has one class", "needs a PNG in base64"):
        assert message in told


VERTICES = [{"x": x, "y": y} for x, y in percent((10, 5), (40, 5), (40, 25), (10, 25))]
RECTANGLE = {"x": 50, "y": 25, "width": 100 * 20 / 60, "height": 10, "rotation": 90}
TURNED = box(26, 10, 30, 30)
UNKNOWN: list[tuple[str, dict[str, Any], str, Region]] = [
    ("polygonlabels", SQUARE | {"polygonlabels": []}, "regions of the type polygonlabels without a label", IN_SQUARE),
    ("choices", RECTANGLE | {"choices": ["stem"]}, "regions of the type choices without a label", TURNED),
    ("polygonlabels", SQUARE | {"polygonlabels": [], "superlabels": ["stem"]}, "and with the key 'superlabels'", IN_SQUARE),
    ("starlabels", RECTANGLE, "regions of the type 'starlabels'", TURNED),
    ("splinelabels", {"points": SQUARE["points"][:3]}, "regions of the type 'splinelabels'", IN_SQUARE),
    ("starlabels", {"center": [1, 2], "arms": 5}, "regions of the type 'starlabels'", ~IN_CORNER),
    ("rectanglelabels", RECTANGLE | {"shear": 0.5}, "regions with the key 'shear'", ~IN_CORNER),
    ("rectanglelabels", SQUARE, "regions of the type rectanglelabels with closed, points", IN_SQUARE),
    ("rectanglelabels", {"x": 5, "y": 5, "width": 5}, "regions of the type rectanglelabels with width, x, y", ~IN_CORNER),
    ("brushlabels", {"format": "png", "rle": [0]}, "brush labels of the format 'png'", ~IN_CORNER),
    ("polygonlabels", SQUARE | {"closed": False}, "regions of the type polygonlabels that are not closed", IN_SQUARE),
    ("vectorlabels", {"vertices": VERTICES, "closed": "true"}, "with a closed that is neither true nor false", IN_SQUARE),
    ("videorectangle", {"sequence": [{"frame": 1, "x": 5}]}, "regions of the type 'videorectangle'", ~IN_CORNER),
]


@pytest.mark.parametrize(("kind", "value", "message", "void"), UNKNOWN)
def test_what_is_not_known_is_an_error_and_void(kind: str, value: dict[str, Any], message: str, void: Region) -> None:
    unknown = label_studio_result(kind, "stem") | {"value": {kind: ["stem"]} | value}
    tasks = [task(LEAF, unknown), task(LEAF, id=2), task(LEAF, unknown, id=3)]
    masks, told = read(*tasks)
    assert message in told
    assert told.startswith("2 ")
    assert "in project.json (2: task 1, task 3): change them in the tool, or make them void with --unknown void" in told
    for mask, expected in zip(masks, (void, False, void), strict=True):
        np.testing.assert_array_equal(mask, np.where(IN_CORNER, 1, VOID * expected))


def test_an_unknown_region_with_neither_a_shape_nor_a_size_becomes_void_where_the_user_wants_it() -> None:
    unknown = {"id": "x", "type": "newlabels", "value": {"newlabels": ["stem"]}}
    (mask,), told = read(task(LEAF, unknown), policy="void")
    assert told.startswith("1 regions of the type 'newlabels' cannot be read and are void")
    np.testing.assert_array_equal(mask, np.where(IN_CORNER, 1, VOID))


def test_points_have_no_area_and_small_keys_are_told() -> None:
    point = label_studio_result("keypointlabels", "stem", x=50, y=50, width=0.5)
    named = LEAF | {"value": LEAF["value"] | {"comment": "a leaf"}, "isNew": True, "score": 0.9, "origin": "manual"}
    (mask,), told = read(task(named, point))
    np.testing.assert_array_equal(mask, IN_CORNER)
    assert "1 regions of the type keypointlabels are left out, since they have no area" in told
    for key in ("comment", "isNew"):
        assert f"1 regions have the key '{key}', which is not read" in told


@pytest.mark.parametrize(
    ("data", "targets", "name", "field"),
    [
        ({"photo_url": "0.png"}, "image", None, "photo_url"),
        ({"photo_url": "0.png", "caption": "a leaf"}, "image", None, "photo_url"),
        ({"photo_url": "0.png", "caption": "a leaf"}, "image", "caption", "caption"),
        ({"photo": "0.png", "thumbnail": "small.png"}, "image", None, None),
        ({"photo": "0.png", "thumbnail": "small.png"}, "image", "photo", "photo"),
        ({"image": "0.png", "thumbnail": "small.png"}, "image", None, "image"),
        ({"image": "0.png", "thumbnail": "small.png"}, "photo", None, None),
        ({"image": ["0.png"], "caption": "a leaf", "number": 3}, "image", None, "image"),
        ({"address": "http://x/?id=3", "caption": "a leaf"}, "image", None, None),
        ({"photo": ["0.png", "1.png"]}, "image", None, "photo"),
        ({"photo": ["0.png", 1]}, "image", "photo", None),
        ({"photo": "0.png", "tags": ["a", "b"]}, "image", None, "photo"),
        ({"photo": "0.png"}, "image", "photo_url", None),
        ({}, "image", None, None),
    ],
)
def test_the_field_of_the_image(data: dict[str, Any], targets: str, name: str | None, field: str | None) -> None:
    assert find_image_field(data, {targets}, name) == field


def test_regions_of_tags_on_several_images_are_drawn_on_their_own_or_told() -> None:
    """Tags on one image, as of two layers of labels, are fine."""
    results, data = [LEAF | {"to_name": "left"}, STEM | {"to_name": "right"}], {"left": "0.png", "right": "1.png"}
    (mask,), told = read(task(*results, data=data), field="left")
    np.testing.assert_array_equal(mask, IN_CORNER)
    assert told == "1 regions lie on other images of their tasks and are left out"
    (mask,), told = read(task(*results))
    np.testing.assert_array_equal(mask, IN_CORNER * 1 + IN_SQUARE * 2)
    _, told = read(task(*results, data={"first": "0.png", "second": "1.png"}), field="first")
    assert "task 1 has several images, and regions of the tags left, right" in told


def test_of_several_annotations_the_ground_truth_counts_or_the_last_and_tasks_without_one_are_left_out() -> None:
    """Cancelled ones and predictions are none."""
    leaf, empty = {"result": [LEAF]}, {"result": []}
    annotations = ([leaf, empty | {"was_cancelled": True}], [leaf, empty], [leaf | {"ground_truth": True}, empty])
    tasks = [task(id=number, annotations=each) for number, each in enumerate(annotations)]
    tasks += [task(id=8, annotations=[], predictions=[leaf]), task(id=9, annotations=[leaf | {"was_cancelled": True}])]
    masks, told = read(*tasks)
    assert [np.count_nonzero(mask) for mask in masks] == [16, 0, 16]
    assert "2 tasks have several annotations: the ground truth counts, or the last" in told
    assert "2 tasks have no annotation and are left out: 8, 9" in told
    with pytest.raises(ValueError, match="has 1 tasks, and none with an annotation: submit the tasks in Label Studio"):
        read(tasks[3])


def changed(**facts: Any) -> Task:
    """A task whose region has other facts."""
    return task(STEM | {"id": "r"} | facts)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (task(annotations=[{"result": None}]), "task 1 must have an annotation with a list of results, got None"),
        (task(annotations=[{"result": [["leaf"]]}]), "task 1 must have an annotation with a list of results, got [['leaf']]"),
        (changed(value={"points": [[1, 2]], "polygonlabels": ["stem"]}), "task 1, region r: a polygon needs three points or"),
        (changed(value={"rle": [0] * 9, "brushlabels": ["stem"]}, type="brush"), "task 1, region r: a brush label of 40x60"),
        (changed(image_rotation=90), "task 1, region r: was drawn on an image turned by 90 degrees; turn it back"),
        (task(LEAF, STEM | {"original_width": 40}), "task 1 has regions of images of several sizes"),
        (changed(value=SQUARE | {"polygonlabels": ["\x1b[31m\n"]}), "task 1, region r: a name must"),
        (changed(value=SQUARE | {"polygonlabels": ["x" * 1_000_000]}), "task 1, region r: a name must"),
        (task(data={"photo": "0.png", "thumbnail": "1.png"}), "got the fields ['photo', 'thumbnail']: give the field of the"),
        (task(data={"pages": ["0.png", 2]}), "got the fields ['pages']: give the field of the image with --image-field"),
        (changed(item_index=3), "task 1 has the regions r of images that its 1 images lack"),
    ],
)
def test_what_is_wrong_in_a_task_is_told_by_name(wrong: Task, message: str) -> None:
    _, told = read(wrong, task(LEAF, id=2))
    assert told.startswith("project.json: ")
    assert message in told
    assert len(told) < 1000
    assert told.count("\n") == 0


def test_tasks_of_one_id_keep_their_own_objects() -> None:
    """Sizes may be written with a point, and types may be missing."""
    square = STEM | {"original_height": 40.0, "original_width": 60.0, "type": None}
    (first, second), _ = read(task(LEAF), task(square))
    np.testing.assert_array_equal(first, IN_CORNER)
    np.testing.assert_array_equal(second, IN_SQUARE * 2)


def test_a_small_file_that_says_a_huge_image_takes_no_memory() -> None:
    """A brush label of 10 bytes would be an image of 400 gigabytes. labelme's files are read within the same limit."""
    assert check_size(40.0, "60") == (40, 60)
    with pytest.raises(ValueError, match="is on an image of 300000x300000 pixels; at most 100 megapixels are read"):
        check_size(300_000, 300_000)
    for size in ((None, None), (0, 5), (True, 5), (2.5, 5)):
        with pytest.raises(ValueError, match="needs the height and width of its image in pixels"):
            check_size(*size)


def test_a_task_of_a_list_of_images_has_a_mask_for_each() -> None:
    """As the tag Image reads them by `valueList`; `item_index` says of which image a region is."""
    pages = task(LEAF, STEM | {"item_index": 1}, data={"pages": ["0.png", "2.png", "3.png"]})
    masks, _ = read(pages, task(LEAF))
    assert [np.unique(mask).tolist() for mask in masks] == [[0, 1], [0, 2], [0], [0, 1]]


def test_the_field_of_the_image_may_be_named(run_import: Import, tmp_path: Path) -> None:
    file = write_label_studio_results(tmp_path / "export", [LEAF])
    file.write_text(file.read_text().replace('"image": "0.png"', '"photo": "0.png", "thumbnail": "1.png"'))
    assert "wrote 1 frames" in run_import(file, "--image-field", "photo")
    assert "got the fields ['photo', 'thumbnail']: 'pages' is none" in run_import(file, "--image-field", "pages", status=2)
