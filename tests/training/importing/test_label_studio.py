"""Every kind of region of Label Studio is drawn as the tool shows it, or told; none becomes background without a word."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.training.coco import Import
from tests.support.training.label_tools import Ids, Region, label_studio_result, png_text, write_label_studio_results
from training.commands.import_labels import main
from training.importing.label_studio.geometry import draw
from training.importing.label_studio.tasks import find_image_field
from training.importing.outlines import check_size, decode_painted

SIZE = (40, 60)
VOID = 255


def result(kind: str, *labels: str, **value: Any) -> dict[str, Any]:
    return label_studio_result(SIZE, kind, *labels, **value)


def percent(*points: tuple[float, float]) -> list[list[float]]:
    """Points in pixels of an image of `SIZE`, in percent."""
    return [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in points]


LEAF = result("polygonlabels", "leaf", points=percent((0, 0), (4, 0), (4, 4), (0, 4)), closed=True)


def box(x0: int, y0: int, x1: int, y1: int) -> Region:
    region = np.zeros(SIZE, bool)
    region[y0:y1, x0:x1] = True
    return region


def masks(tmp_path: Path, *tasks: Sequence[Mapping[str, Any]], options: Sequence[str] = ()) -> list[Ids]:
    """The masks of imported tasks."""
    file = write_label_studio_results(tmp_path / "export", SIZE, *tasks)
    assert main([str(file), "--out", str(tmp_path / "data"), *options]) == 0
    return [np.asarray(Image.open(tmp_path / "data" / "masks" / f"{index}.png")) for index in range(len(tasks))]


def classes(tmp_path: Path) -> list[str]:
    return [entry["name"] for entry in json.loads((tmp_path / "data" / "classes.json").read_text())["classes"]]


def painted(region: Region, mode: str) -> str:
    """A bitmask as a data URL: black on transparent as Label Studio writes it, or white on black."""
    pixels = np.asarray(Image.fromarray(region.astype(np.uint8) * 255).convert(mode))
    if mode == "LA":
        pixels = np.stack([np.zeros(SIZE, np.uint8), region * np.uint8(255)], axis=-1)
    if mode == "RGBA":
        pixels = np.zeros((*SIZE, 4), np.uint8)
        pixels[..., 3] = region * 255
    return f"data:image/png;base64,{png_text(pixels)}"


def test_soft_edges_of_a_bitmask_are_painted_from_the_half_on() -> None:
    pixels = np.zeros((*SIZE, 4), np.uint8)
    pixels[3, 5:8, 3] = 127, 128, 255
    np.testing.assert_array_equal(decode_painted(f"data:image/png;base64,{png_text(pixels)}", SIZE), box(6, 3, 8, 4))


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "bitmasklabels"), ("RGBA", "bitmask"), *((mode, "bitmask") for mode in ("LA", "L", "1", "RGB"))]
)
def test_a_bitmask_is_a_mask_of_its_class(mode: str, kind: str, tmp_path: Path) -> None:
    stem = result(kind, imageDataURL=painted(box(10, 5, 40, 25), mode))
    labels = {**stem, "type": "labels", "value": {"labels": ["stem"]}} if kind == "bitmask" else stem
    labels["value"] |= {"labels": ["stem"]} if kind == "bitmask" else {"bitmasklabels": ["stem"]}
    first, second = masks(tmp_path, [LEAF], [stem, labels] if kind == "bitmask" else [stem])
    assert classes(tmp_path) == ["background", "leaf", "stem"]
    np.testing.assert_array_equal(second, box(10, 5, 40, 25) * 2)
    np.testing.assert_array_equal(first, box(0, 0, 4, 4))


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


def test_a_closed_vector_is_a_polygon_along_its_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second vertex was inserted later, so it stands last; the open path is a line."""
    square = [corner(10, 5), corner(40, 25), corner(10, 25), corner(40, 5)]
    for vertex, name, previous in zip(square, "acdb", (None, "b", "c", "a"), strict=True):
        vertex |= {"id": name, "prevPointId": previous}
    closed = result("vectorlabels", "leaf", vertices=square, closed=True)
    line = result("vectorlabels", "stem", vertices=square[:2], closed=False)
    (mask,) = masks(tmp_path, [closed, line])
    np.testing.assert_array_equal(mask, box(10, 5, 40, 25))
    assert "1 regions of the type vectorlabels are left out, since they have no area" in capsys.readouterr().out


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


@pytest.mark.parametrize(("turn", "edges"), [(0, (30, 10, 50, 14)), (90, (26, 10, 30, 30)), (-90, (30, 0, 34, 10))])
def test_a_box_is_turned_about_its_upper_left_corner(turn: float, edges: tuple[int, int, int, int], tmp_path: Path) -> None:
    turned = result("rectanglelabels", "leaf", x=50, y=25, width=100 * 20 / 60, height=10, rotation=turn)
    (mask,) = masks(tmp_path, [LEAF, turned])
    np.testing.assert_array_equal(mask == VOID, box(*edges))


def test_a_box_is_turned_by_any_angle(tmp_path: Path) -> None:
    """Percent of width and height differ in pixels, in which angles are right."""
    turned = result("rectanglelabels", "leaf", x=50, y=25, width=100 * 20 / 60, height=100 * 8 / 40, rotation=30)
    (mask,) = masks(tmp_path, [LEAF, turned])
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    right, down = columns + 0.5 - 30, rows + 0.5 - 10
    across = right * np.cos(np.radians(30)) + down * np.sin(np.radians(30))
    along = -right * np.sin(np.radians(30)) + down * np.cos(np.radians(30))
    inside = (across > 0) & (across < 20) & (along > 0) & (along < 8)
    border = (np.minimum(np.abs(across), np.abs(across - 20)) < 0.8) | (np.minimum(np.abs(along), np.abs(along - 8)) < 0.8)
    np.testing.assert_array_equal((mask == VOID)[~border], inside[~border])


def test_labels_beside_their_shape_and_answers_about_it_belong_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the tags Polygon and Labels write them; the labels may repeat the shape, with a rotation of 0, or lack it."""
    shape = {"points": percent((10, 5), (40, 5), (40, 25), (10, 25)), "closed": True}
    whole = result("polygon", **shape)
    labels = whole | {"type": "labels", "value": {"labels": ["leaf"]}}
    repeated = whole | {"type": "labels", "value": {**shape, "labels": ["leaf"]}}
    answer = whole | {"type": "choices", "value": {**shape, "choices": ["sick"]}}
    about_all = {"id": "q", "type": "choices", "to_name": "image", "value": {"choices": ["sunny"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    boxed = result("rectangle", x=50, y=25, width=50, height=25)
    named = boxed | {"type": "labels", "value": boxed["value"] | {"rotation": 0, "labels": ["leaf"]}}
    first, second, third = masks(
        tmp_path, [whole, labels], [whole, repeated, answer, about_all, relation], [repeated, LEAF, boxed, named]
    )
    for mask in (first, second):
        np.testing.assert_array_equal(mask, box(10, 5, 40, 25))
    np.testing.assert_array_equal(third == VOID, box(30, 10, 60, 20))
    np.testing.assert_array_equal(third == 1, (box(10, 5, 40, 25) | box(0, 0, 4, 4)) & ~box(30, 10, 60, 20))
    output = capsys.readouterr().out
    assert "1 answers of the type choices about a whole image are left out" in output
    assert "1 relations between regions are left out" in output


def test_what_is_wrong_becomes_void_where_the_user_wants_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two labels of one region, whose place is known, and a bitmask that is cut off, whose place is not."""
    both = result("polygonlabels", "leaf", "stem", **SQUARE)
    broken = result("bitmasklabels", "stem", imageDataURL="data:image/png;base64,AAAA")
    first, second = masks(tmp_path, [LEAF, both], [LEAF, broken], options=["--unknown", "void"])
    np.testing.assert_array_equal(first, box(0, 0, 4, 4) * 1 + box(10, 5, 40, 25) * VOID)
    np.testing.assert_array_equal(second, np.where(box(0, 0, 4, 4), 1, VOID))
    output = capsys.readouterr().out
    assert "2 regions with errors cannot be read and are void" in output
    for message in ("has the labels leaf, stem; a pixel has one class", "needs a PNG in base64"):
        assert message in output


SQUARE = {"points": percent((10, 5), (40, 5), (40, 25), (10, 25)), "closed": True}
VERTICES = [{"x": x, "y": y} for x, y in percent((10, 5), (40, 5), (40, 25), (10, 25))]
RECTANGLE = {"x": 50, "y": 25, "width": 100 * 20 / 60, "height": 10, "rotation": 90}
WHOLE = box(0, 0, 60, 40) & ~box(0, 0, 4, 4)


@pytest.mark.parametrize(
    ("unknown", "message", "void"),
    [
        (result("polygonlabels", **SQUARE, polygonlabels=[]), "of the type polygonlabels without a label", box(10, 5, 40, 25)),
        (result("choices", **RECTANGLE, choices=["stem"]), "of the type choices without a label", box(26, 10, 30, 30)),
        (result("polygonlabels", **SQUARE, superlabels=["stem"]), "and with the key 'superlabels'", box(10, 5, 40, 25)),
        (result("starlabels", "stem", **RECTANGLE), "regions of the type 'starlabels'", box(26, 10, 30, 30)),
        (result("splinelabels", "stem", points=percent((10, 5), (40, 5), (40, 25))), "'splinelabels'", box(10, 5, 40, 25)),
        (result("starlabels", "stem", center=[1, 2], arms=5), "regions of the type 'starlabels'", WHOLE),
        (result("rectanglelabels", "stem", **RECTANGLE, shear=0.5), "regions with the key 'shear'", WHOLE),
        (result("rectanglelabels", "stem", **SQUARE), "of the type rectanglelabels with closed, points", box(10, 5, 40, 25)),
        (result("rectanglelabels", "stem", x=5, y=5, width=5), "of the type rectanglelabels with width, x, y", WHOLE),
        (result("brushlabels", "stem", format="png", rle=[0]), "brush labels of the format 'png'", WHOLE),
        (result("polygonlabels", "stem", **SQUARE | {"closed": False}), "that are not closed", box(10, 5, 40, 25)),
        (result("vectorlabels", "stem", vertices=VERTICES, closed="true"), "with a closed that is neither", box(10, 5, 40, 25)),
        (result("videorectangle", "stem", sequence=[{"frame": 1, "x": 5}]), "regions of the type 'videorectangle'", WHOLE),
        ({"id": "x", "type": "newlabels", "value": {"newlabels": ["stem"]}}, "regions of the type 'newlabels'", WHOLE),
    ],
)  # fmt: skip
def test_what_is_not_known_ends_the_import_or_becomes_void(
    run_import: Import, unknown: dict[str, Any], message: str, void: Region, tmp_path: Path
) -> None:
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF, unknown], [LEAF], [LEAF, unknown])
    error = run_import(file, status=2)
    assert message in error
    assert f"2 {message}" in error or "2 regions" in error
    assert f"in {file} (2: task 1, task 3): change them in the tool, or make them void with --unknown void" in error
    assert not (tmp_path / "data").exists()
    output = run_import(file, "--unknown", "void")
    assert "cannot be read and are void" in output
    assert message in output
    for name, expected in (("0", void), ("1", np.zeros(SIZE, bool)), ("2", void)):
        mask = np.asarray(Image.open(tmp_path / "data" / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask == VOID, expected)
        np.testing.assert_array_equal(mask == 1, box(0, 0, 4, 4))


def test_points_have_no_area_and_small_keys_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    point = result("keypointlabels", "stem", x=50, y=50, width=0.5)
    named = LEAF | {"value": LEAF["value"] | {"comment": "a leaf"}, "isNew": True, "score": 0.9, "origin": "manual"}
    (mask,) = masks(tmp_path, [named, point])
    np.testing.assert_array_equal(mask, box(0, 0, 4, 4))
    output = capsys.readouterr().out
    assert "1 regions of the type keypointlabels are left out, since they have no area" in output
    for key in ("comment", "isNew"):
        assert f"1 regions have the key '{key}', which is not read" in output


def rewrite(file: Path, index: int, **changes: Any) -> None:
    tasks = json.loads(file.read_text())
    tasks[index] |= changes
    file.write_text(json.dumps(tasks))


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


def test_a_field_that_is_not_sure_needs_the_option(run_import: Import, tmp_path: Path) -> None:
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF])
    rewrite(file, 0, data={"photo": "0.png", "thumbnail": "small.png"})
    error = run_import(file, status=2)
    assert f"{file}: task 1 must have one image, got the fields ['photo', 'thumbnail']: give the field" in error
    assert "wrote 1 frames" in run_import(file, "--image-field", "photo")


def test_regions_of_the_other_image_of_a_task_are_not_drawn_on_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = result("polygonlabels", "stem", **SQUARE) | {"to_name": "right"}
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF | {"to_name": "left"}, other])
    rewrite(file, 0, data={"left": "0.png", "right": "1.png"})
    assert main([str(file), "--out", str(tmp_path / "data"), "--image-field", "left"]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "data" / "masks" / "0.png")), box(0, 0, 4, 4))
    assert "1 regions lie on other images of their tasks and are left out" in capsys.readouterr().out


def test_tags_of_several_images_that_are_named_otherwise_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tags on one image, as of two layers of labels, are fine."""
    other = result("polygonlabels", "leaf", **SQUARE) | {"to_name": "second"}
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF | {"to_name": "first"}, other])
    assert main([str(file), "--out", str(tmp_path / "data")]) == 0
    mask = np.asarray(Image.open(tmp_path / "data" / "masks" / "0.png"))
    np.testing.assert_array_equal(mask, box(10, 5, 40, 25) | box(0, 0, 4, 4))
    rewrite(file, 0, data={"left": "0.png", "right": "1.png"})
    assert main([str(file), "--out", str(tmp_path / "OTHER"), "--image-field", "left"]) == 2
    assert "task 1 has several images, and regions of the tags first, second" in capsys.readouterr().err


def test_annotations_that_nobody_has_confirmed_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF], [LEAF], [LEAF])
    rewrite(file, 1, annotations=[], predictions=[{"result": [LEAF]}])
    rewrite(file, 2, annotations=[{"id": 3, "was_cancelled": True, "result": [LEAF]}])
    assert main([str(file), "--out", str(tmp_path / "data")]) == 0
    assert "2 tasks have no annotation and are left out: 2, 3" in capsys.readouterr().out
    tasks = [{"id": 1, "data": {"image": "0.png"}, "predictions": [{"result": [LEAF]}]}]
    file.write_text(json.dumps(tasks))
    assert main([str(file), "--out", str(tmp_path / "OTHER")]) == 2
    assert "has 1 tasks, and none with an annotation: submit the tasks in Label Studio" in capsys.readouterr().err


@pytest.mark.parametrize("value", [None, [["leaf"]]])
def test_an_annotation_without_a_list_of_results_is_told(run_import: Import, value: object, tmp_path: Path) -> None:
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF], [LEAF])
    rewrite(file, 1, annotations=[{"id": 3, "result": value}])
    assert f"{file}: task 2 must have an annotation with a list of results" in run_import(file, status=2)


def test_tasks_of_one_id_keep_their_own_objects(tmp_path: Path) -> None:
    """Sizes may be written with a point, and types may be missing."""
    square = result("polygonlabels", "leaf", **SQUARE) | {"original_height": 40.0, "original_width": 60.0, "type": None}
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF], [square])
    rewrite(file, 1, id=1)
    assert main([str(file), "--out", str(tmp_path / "data")]) == 0
    first, second = (np.asarray(Image.open(tmp_path / "data" / "masks" / f"{index}.png")) for index in (0, 1))
    np.testing.assert_array_equal(first, box(0, 0, 4, 4))
    np.testing.assert_array_equal(second, box(10, 5, 40, 25))


@pytest.mark.parametrize("label", ["\x1b[31m\n", "x" * 1_000_000])
def test_labels_that_are_no_names_are_told_in_a_line(label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF, result("polygonlabels", label, **SQUARE)])
    assert main([str(file), "--out", str(tmp_path / "data")]) == 2
    lines = capsys.readouterr().err.split("\r")[-1].strip().split("\n")
    assert len(lines) == 1
    assert "a name must" in lines[0]
    assert len(lines[0]) < 1000


def test_a_small_file_that_says_a_huge_image_takes_no_memory() -> None:
    """A brush label of 10 bytes would be an image of 400 gigabytes. labelme's files are read within the same limit."""
    assert check_size(40.0, "60") == (40, 60)
    with pytest.raises(ValueError, match="is on an image of 300000x300000 pixels; at most 100 megapixels are read"):
        check_size(300_000, 300_000)
    for size in ((None, None), (0, 5), (True, 5), (2.5, 5)):
        with pytest.raises(ValueError, match="needs the height and width of its image in pixels"):
            check_size(*size)


def test_a_task_of_a_list_of_images_has_a_mask_for_each(run_import: Import, tmp_path: Path) -> None:
    """As the tag Image reads them by `valueList`; `item_index` says of which image a region is."""
    second = LEAF | {"id": "second", "item_index": 1}
    file = write_label_studio_results(tmp_path / "export", SIZE, [LEAF, second], [LEAF])
    tasks = json.loads(file.read_text())
    tasks[0]["data"] = {"pages": ["0.png", "2.png", "3.png"]}
    for name in "23":
        (file.parent / f"{name}.png").write_bytes((file.parent / "0.png").read_bytes())
    file.write_text(json.dumps(tasks))
    output = run_import(file)
    assert "1 images have no objects, so their masks are background alone: 3.png" in output
    masks = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "data" / "masks").iterdir()}
    for name, count in (("0", 16), ("1", 16), ("2", 16), ("3", 0)):
        assert np.count_nonzero(masks[name]) == count
    tasks[0]["annotations"][0]["result"][1]["item_index"] = 3
    file.write_text(json.dumps(tasks))
    assert "task 1 has the regions second of images that its 3 images lack" in run_import(file, status=2)
    tasks[0]["data"] = {"pages": ["0.png", 2]}
    file.write_text(json.dumps(tasks))
    assert "got the fields ['pages']: give the field of the image with --image-field" in run_import(file, status=2)
    assert "got the fields ['pages']: 'pages' is none" in run_import(file, "--image-field", "pages", status=2)
