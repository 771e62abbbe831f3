"""Label sets by name, from JSON and YAML, and the one that a folder implies."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from model.labels import LabelError, camvid_labels, numbered_labels, voc_labels
from tests.support.training.data_sets import write_camvid, write_voc
from training.data.label_files import find_labels, read_labels

FOUR = numbered_labels(["background", "circle", "square", "triangle"])
IDS = np.zeros((2, 3), np.uint8)
YAML = """
classes:
  - {id: 0, name: soil, color: "#102030"}
  - {id: 1, name: leaf}
ignore_index: 9
"""


def test_labels_come_by_name_or_from_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"classes": FOUR.to_list(), "ignore_index": 200}))
    assert read_labels("voc") == voc_labels()
    assert read_labels("camvid") == camvid_labels()
    assert read_labels(str(path)) == numbered_labels(FOUR.names, 200)
    path.write_text(json.dumps({"classes": FOUR.to_list()}))
    assert read_labels(str(path)).ignore_index == 255


@pytest.mark.parametrize("ending", ["yaml", "yml"])
def test_yaml_says_the_same(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"classes.{ending}"
    path.write_text(YAML)
    labels = read_labels(str(path))
    assert labels.to_list() == [
        {"id": 0, "name": "soil", "color": "#102030"},
        {"id": 1, "name": "leaf", "color": "#800000"},
    ]
    assert labels.ignore_index == 9


def test_names_alone_are_numbered_and_coloured_as_voc_does(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text('{"classes": ["soil", "leaf", "stem"]}')
    labels = read_labels(str(path))
    assert [(entry.id, entry.name, entry.color) for entry in labels.classes] == [
        (index, name, voc_labels().classes[index].color) for index, name in enumerate(["soil", "leaf", "stem"])
    ]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[]",
        '{"names": []}',
        '{"classes": []}',
        '{"classes": [3]}',
        '{"classes": [{"id": 0}]}',
        '{"classes": ["a"], "ignore_index": "none"}',
        '{"classes": [{"id": 1, "name": "a", "color": "#000000"}]}',
        '{"classes": [{"id": 0, "name": "a", "color": "red"}]}',
    ],
)
@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_a_wrong_file_is_named(tmp_path: Path, content: str | None, ending: str) -> None:
    path = tmp_path / f"classes.{ending}"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LabelError, match=f"classes.{ending}"):
        read_labels(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"classes": ["soil"], "ignore_indx": 9},
            "there is no key 'ignore_indx' (did you mean 'ignore_index'?); the keys are classes, ignore_index",
        ),
        ({"nmaes": ["soil"]}, "there is no key 'nmaes'; the keys are classes, ignore_index"),
        ({"Classes": ["soil"]}, "there is no key 'Classes' (did you mean 'classes'?); the keys are classes, ignore_index"),
        (
            {"classes": ["soil"], "a\nb": 1, "clases": []},
            "there is no key 'a\\nb', 'clases' (did you mean 'classes'?); the keys are classes, ignore_index",
        ),
        (
            {"classes": ["soil", {"id": 1, "name": "leaf", "colour": "#3ca951"}]},
            "class 1: there is no key 'colour' (did you mean 'color'?); the keys are id, name, color",
        ),
        (
            {"classes": [{"id": 0, "nmae": "soil"}]},
            "class 0: there is no key 'nmae' (did you mean 'name'?); the keys are id, name, color",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_an_unknown_key_is_told_with_the_nearest_one(
    tmp_path: Path, content: dict[str, object], message: str, ending: str
) -> None:
    """JSON is YAML as well."""
    path = tmp_path / f"classes.{ending}"
    path.write_text(json.dumps(content))
    with pytest.raises(LabelError) as caught:
        read_labels(str(path))
    assert str(caught.value) == f"{path}: {message}"


def test_a_key_of_yaml_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [soil]\n0: soil\n")
    with pytest.raises(LabelError, match=r"there is no key 0; the keys are classes, ignore_index"):
        read_labels(str(tmp_path / "classes.yaml"))


def test_a_yaml_colour_without_quotes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("classes:\n  - {id: 0, name: soil}\n  - id: 1\n    name: leaf\n    color: #3ca951\n")
    with pytest.raises(LabelError, match=r"class 1: color must be a text like '#3ca951' \(in YAML, in quotes\), got None"):
        read_labels(str(path))


def test_a_folder_s_own_file_comes_before_what_its_layout_implies(tmp_path: Path) -> None:
    write_camvid(tmp_path, {"a": IDS})
    assert find_labels(None, tmp_path) == camvid_labels()
    assert find_labels("voc", tmp_path) == voc_labels()
    (tmp_path / "classes.yaml").write_text(YAML)
    assert find_labels(None, tmp_path).names == ["soil", "leaf"]
    assert find_labels("voc", tmp_path) == voc_labels()


def test_a_vocdevkit_implies_voc(tmp_path: Path) -> None:
    assert find_labels(None, write_voc(tmp_path, {"a": IDS})) == voc_labels()


def test_plain_folders_need_a_file_of_classes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(LabelError, match=r"none of classes\.json, classes\.yaml"):
        find_labels(None, tmp_path)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["sky", "road", "sky"], "each class needs a name of its own, got sky twice"),
        ([f"class {index}" for index in range(300)], "at most 255 classes"),
    ],
)
def test_classes_that_masks_cannot_tell_apart_are_refused(tmp_path: Path, classes: list[str], message: str) -> None:
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes}))
    with pytest.raises(LabelError, match=message):
        read_labels(str(tmp_path / "classes.json"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "class 1: a name must be a text, in quotes where it could be something else, got None"),
        ("7", "class 1: a name must be a text, in quotes where it could be something else, got 7"),
        ("[a]", "class 1: a name must be a text"),
        ("' '", "class 1: a name must be a line of text, got ''"),
        ('"a\\nb"', "class 1: a name must be a line of text, got 'a\\nb'"),
        ("'soil '", "each class needs a name of its own, got soil twice"),
    ],
)
def test_what_is_no_name_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "classes.yaml").write_text(f"classes:\n  - {{id: 0, name: soil}}\n  - {{id: 1, name: {name}}}\n")
    with pytest.raises(LabelError, match=re.escape(message)):
        read_labels(str(tmp_path / "classes.yaml"))


def test_names_with_emoji_bars_and_dollars_are_names(tmp_path: Path) -> None:
    names = ["a|b", "$x$", "\U0001f9d1\u200d\U0001f33e", "1", "Bl\u00e4tter"]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": [*names[:-1], "Bla\u0308tter"]}))
    assert read_labels(str(tmp_path / "classes.json")).names == names


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_a_file_nested_without_end_is_told_in_a_line(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"classes.{ending}"
    path.write_text("[" * 20_000)
    with pytest.raises(LabelError, match=rf"classes\.{ending}"):
        read_labels(str(path))


def test_an_error_in_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("classes:\n\t- a\n")
    with pytest.raises(LabelError, match=r"classes\.yaml.*line 2") as caught:
        read_labels(str(path))
    assert "\n" not in str(caught.value)


def test_two_files_of_other_classes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('{"classes": ["soil", "leaf"]}')
    (tmp_path / "classes.yaml").write_text("classes: [soil, leaf]\n")
    assert find_labels(None, tmp_path).names == ["soil", "leaf"]
    (tmp_path / "classes.yaml").write_text("classes: [leaf, soil]\n")
    with pytest.raises(LabelError, match=r"classes\.json and classes\.yaml say other classes: remove one"):
        find_labels(None, tmp_path)
