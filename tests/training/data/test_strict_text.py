"""Values of YAML and JSON that could mean two things are errors, with their place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from model.labels import LabelError
from training.data.label_files import read_labels
from training.data.strict_text import parse_yaml, read_json

WORDS = [
    *(
        "yes",
        "No",
        "on",
        "OFF",
        "true",
        "y",
        "N",
        "010",
        "0o10",
        "0x1f",
        "0b11",
        "1_000",
        "12:30:45",
        "1e3",
        "1.0e+3",
        "1.5",
        ".inf",
        ".nan",
    ),
    *("2024-01-15", "2024-01-15 12:00:00", "!!binary aGk=", "!!python/name:os.system a", "!leaf a"),
]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_yaml_with_another_meaning_needs_quotes(tmp_path: Path, word: str) -> None:
    file = tmp_path / "classes.yaml"
    for form in ("- {{id: 1, name: {}}}", "- {}"):
        file.write_text("classes:\n- soil\n" + form.format(word) + "\n")
        with pytest.raises(LabelError, match=r"line 3: .*a text needs quotes|expected"):
            read_labels(str(file))
    file.write_text(f"classes:\n- soil\n- {{id: 1, name: '{word}'}}\n")
    assert read_labels(str(file)).names == ["soil", word]


@pytest.mark.parametrize("number", ["010", "0x1", "1_0", "1:30", "true", "1.0"])
@pytest.mark.parametrize("line", ["ignore_index: {}", "classes: [{{id: {}, name: soil}}]"])
def test_numbers_of_yaml_are_decimal(tmp_path: Path, number: str, line: str) -> None:
    file = tmp_path / "classes.yaml"
    file.write_text(f"# a comment\n{line.format(number)}\n")
    with pytest.raises(LabelError, match=rf"line 2: YAML may read '{re.escape(number)}' as"):
        read_labels(str(file))


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("classes: [soil]\nclasses: [leaf]\n", 2, "classes"),
        ("classes:\n- {id: 0, name: soil,\n   name: leaf}\n", 3, "name"),
        ("classes:\n- id: 0\n  name: soil\n  'name': leaf\n", 4, "name"),
    ],
)
def test_a_key_of_yaml_that_comes_twice_is_told_with_its_line(tmp_path: Path, text: str, line: int, key: str) -> None:
    (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(LabelError, match=f"line {line}: the key '{key}' comes twice"):
        read_labels(str(tmp_path / "classes.yaml"))


def test_yaml_s_structure_is_read() -> None:
    assert parse_yaml("a: &x [1, -2, b, '010', null, ~]\nc: *x\n") == {
        "a": [1, -2, "b", "010", None, None],
        "c": [1, -2, "b", "010", None, None],
    }
    assert parse_yaml("# nothing\n") is None
    with pytest.raises(ValueError, match=r"line 1: the key .* is no word"):
        parse_yaml("? [a]\n: b\n")


def test_many_references_take_no_memory() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    values = parse_yaml("\n".join(lines))
    assert isinstance(values, dict)
    assert len(values) == 60


@pytest.mark.parametrize("name", ["classes.json", "classes"])
def test_a_key_of_json_that_comes_twice_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"classes": [{"id": 0, "name": "soil", "name": "leaf"}]}')
    with pytest.raises(LabelError, match="the key 'name' comes twice in an object with 'id', 'name'"):
        read_labels(str(tmp_path / name))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_json_has_no_infinity(tmp_path: Path, word: str) -> None:
    (tmp_path / "a.json").write_text(f'{{"a": [1, {word}]}}')
    with pytest.raises(ValueError, match=f"{word} is no number of JSON"):
        read_json(tmp_path / "a.json")


def test_json_that_is_nested_too_deeply_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "a.json")


def test_truth_is_no_number_of_a_class(tmp_path: Path) -> None:
    for document in ({"classes": ["soil"], "ignore_index": True}, {"classes": [{"id": False, "name": "soil"}]}):
        (tmp_path / "classes.json").write_text(json.dumps(document))
        with pytest.raises(LabelError, match=r"ignore_index must be a whole number|must be a name, in quotes"):
            read_labels(str(tmp_path / "classes.json"))
