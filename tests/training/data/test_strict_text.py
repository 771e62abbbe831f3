"""Values of YAML and JSON that could mean two things are errors, with their place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from training.data.strict_text import parse_yaml, read_json

WORDS = [
    "yes", "No", "on", "OFF", "true", "y", "N", "010", "0o10", "0x1f", "0b11", "1_000", "12:30:45", "1e3", "1.0e+3", "1.5",
    ".inf", ".nan", "2024-01-15", "2024-01-15T12:00:00Z", "!!binary aGk=", "!!python/name:os.system a", "!leaf a",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_yaml_with_another_meaning_needs_quotes(word: str) -> None:
    """As a text and as a number, which is decimal."""
    for form in ("- {{id: 1, name: {}}}", "- {}", "id: {}"):
        with pytest.raises(ValueError, match="line 2"):
            parse_yaml(f"# a comment\n{form.format(word)}\n")
    assert parse_yaml(f"- '{word}'\n") == [word]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [soil]\nclasses: [leaf]\n", "line 2: the key 'classes' comes twice"),
        ("classes:\n- {id: 0, name: soil,\n   name: leaf}\n", "line 3: the key 'name' comes twice"),
        ("? [a]\n: b\n", "line 1: the key \"['a']\" is no word"),
    ],
)
def test_a_key_of_yaml_is_a_word_that_comes_once(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_yaml(text)


def test_yaml_s_structure_is_read() -> None:
    values = [1, -2, "b", "010", None, None]
    assert parse_yaml("a: &x [1, -2, b, '010', null, ~]\nc: *x\n") == {"a": values, "c": values}
    assert parse_yaml("# nothing\n") is None


def test_many_references_take_no_memory() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    values = parse_yaml("\n".join(lines))
    assert isinstance(values, dict)
    assert len(values) == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"classes": [{"id": 0, "name": "a", "name": "b"}]}', "the key 'name' comes twice in an object with 'id'"),
        *((f'{{"a": [1, {word}]}}', f"{word} is no number of JSON") for word in ("NaN", "Infinity", "-Infinity")),
        ("[" * 100_000, "nested too deeply"),
        ("\n", "it is empty"),
    ],
    ids=["twice", "NaN", "Infinity", "-Infinity", "deep", "empty"],
)
def test_json_that_means_two_things_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "a.json")
