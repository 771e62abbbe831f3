"""Label sets by name, from JSON and YAML, and the one that a folder implies."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.labels import LabelClass, LabelError, LabelSet, camvid_labels, numbered_labels, voc_labels
from tests.support.training.data_sets import FOUR, write_camvid, write_voc
from training.data.label_files import find_labels, read_labels

IDS = np.zeros((2, 3), np.uint8)
YAML = """
classes:
  - {id: 0, name: soil, color: "#102030"}
  - {id: 1, name: leaf}
ignore_index: 9
"""


def read(root: Path, content: Any, name: str = "classes.json") -> Any:
    """The label set of a file with this text, or with this content as JSON."""
    (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return read_labels(str(root / name))


def test_labels_come_by_name_or_from_a_file(tmp_path: Path) -> None:
    assert read_labels("voc") == voc_labels()
    assert read_labels("camvid") == camvid_labels()
    assert read(tmp_path, {"classes": FOUR.to_list()}) == numbered_labels(FOUR.names)
    assert read(tmp_path, {"classes": FOUR.to_list(), "ignore_index": 200}) == replace(FOUR, ignore_index=200)
    assert read(tmp_path, FOUR.names) == read(tmp_path, {"classes": FOUR.names})
    expected = LabelSet((LabelClass(0, "soil", (16, 32, 48)), LabelClass(1, "leaf", (128, 0, 0))), 9)
    assert read(tmp_path, YAML, "classes.yaml") == read(tmp_path, YAML, "classes.yml") == expected


def test_names_alone_are_numbered_and_coloured_as_voc_does(tmp_path: Path) -> None:
    assert read(tmp_path, {"classes": ["soil", "leaf", "stem"]}) == numbered_labels(["soil", "leaf", "stem"])
    names = ["a|b", "$x$", "\U0001f9d1\u200d\U0001f33e", "1", "Bl\u00e4tter"]
    assert read(tmp_path, {"classes": [*names[:-1], "Bla\u0308tter"]}).names == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "labels must be voc, camvid, or a JSON or YAML file"),
        ({"nmaes": ["soil"]}, "a list of classes is needed"),
        ({"classes": [3]}, "classes.0: a class must be a name, in quotes where it could be something else, or have id"),
        ({"classes": [{"id": 0}]}, "classes.0.name: Field required"),
        ({"classes": ["a"], "ignore_index": "none"}, "ignore_index: Input should be a valid integer, got none"),
        ({"classes": [{"id": 1, "name": "a"}]}, "class ids must be 0 to n-1"),
        ({"classes": [{"id": 0, "name": "a", "color": "red"}]}, "a color must be written #rrggbb, got 'red'"),
        ({"classes": ["soil"], "ignore_indx": 9}, "there is no key ignore_indx; the keys are classes and ignore_index, and id"),
        ({"classes": ["soil"], "a\nb": 1}, "there is no key a\\nb; the keys are"),
        ({"classes": ["soil", {"id": 1, "name": "leaf", "colour": "#3ca951"}]}, "there is no key classes.1.colour; the keys"),
        ({"classes": ["sky", "road", "sky"]}, "each class needs a name of its own, got sky twice"),
        ({"classes": ["soil", "soil "]}, "each class needs a name of its own, got soil twice"),
        ({"classes": [f"class {index}" for index in range(300)]}, "at most 255 classes"),
        ({"classes": [{"id": 0, "name": 7}]}, "classes.0.name: this must be a text, in YAML in quotes, got 7"),
        ({"classes": [" "]}, "classes.0.name: a name must be a line of text, got ''"),
        (
            {"classes": ["void", "leaf", "stem"], "ignore_index": 0},
            "ignore_index 0 is a class's id: leave it out, and make that class void by --class-map 1=0,2=1, which names all",
        ),
        ([], "class ids must be 0 to n-1"),
        ({"classes": ["a\nb"]}, "classes.0.name: a name must be a line of text, got 'a\\nb'"),
    ],
)
@pytest.mark.parametrize("name", ["classes.json", "classes.yaml"])
def test_a_wrong_file_is_told_with_the_place(tmp_path: Path, content: Any, message: str, name: str) -> None:
    """JSON is YAML as well."""
    with pytest.raises(LabelError, match=re.escape(message)) as caught:
        read(tmp_path, content, name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truth_is_no_number_of_a_class(tmp_path: Path) -> None:
    for content in ({"classes": ["soil"], "ignore_index": True}, {"classes": [{"id": False, "name": "soil"}]}):
        with pytest.raises(LabelError, match=r"Input should be a valid integer, got (True|False)"):
            read(tmp_path, content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [soil]\n0: soil\n", "0: Keys should be strings"),
        ("classes:\n  - {id: 0, name: leaf, color: #3ca951\n    }\n", "color: this must be a text, in YAML in quotes"),
        ("classes:\n\t- a\n", "line 2"),
        ("[" * 20_000, "classes.yaml"),
    ],
    ids=["key", "colour", "tab", "deep"],
)
def test_what_is_wrong_in_yaml_is_told_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelError, match=re.escape(message)) as caught:
        read(tmp_path, text, "classes.yaml")
    assert "\n" not in str(caught.value)


def test_a_folder_s_own_file_comes_before_what_its_layout_implies(tmp_path: Path) -> None:
    write_camvid(tmp_path, {"a": IDS})
    assert find_labels(None, tmp_path) == camvid_labels()
    assert find_labels(None, write_voc(tmp_path / "voc", {"a": IDS})) == voc_labels()
    (tmp_path / "classes.yaml").write_text(YAML)
    assert find_labels(None, tmp_path).names == ["soil", "leaf"]
    assert find_labels("voc", tmp_path) == voc_labels()


def test_plain_folders_need_one_file_of_classes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(LabelError, match=r"none of classes\.json, classes\.yaml"):
        find_labels(None, tmp_path)
    (tmp_path / "classes.json").write_text('{"classes": ["soil", "leaf"]}')
    (tmp_path / "classes.yaml").write_text("classes: [soil, leaf]\n")
    assert find_labels(None, tmp_path).names == ["soil", "leaf"]
    (tmp_path / "classes.yaml").write_text("classes: [leaf, soil]\n")
    with pytest.raises(LabelError, match=r"classes\.json and classes\.yaml say other classes: remove one"):
        find_labels(None, tmp_path)
