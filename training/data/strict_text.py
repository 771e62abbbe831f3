"""Reads JSON and YAML whose values mean one thing alone: a key comes once, a number is a number, a text is a text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from common.command_line import install_command
from training.data.files import read_text
from training.data.problems import DataError, first_names

if TYPE_CHECKING:
    import yaml

OTHERWISE = re.compile(r"[+-]?(\.\d+|\d+\.?\d*)([eE][+-]?\d+)?|0o[0-7]+|[yYnN]")  # texts of PyYAML that are none of YAML's
DECIMAL = re.compile(r"[+-]?(0|[1-9]\d*)")
TEXT, WHOLE, NULL = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "null"))
SHOWN = 60  # letters of a value that a message shows


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises `ValueError` for an empty file and other text, for a key that comes twice in one object, and for NaN and infinity,
    which JSON does not have. Raises `OSError` for a file that cannot be read.
    """
    text = read_text(path)
    if not text.strip():
        raise ValueError("it is empty")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def require_json(path: Path) -> Any:
    """The content of a JSON file of a data set. Raises `DataError` where `read_json` raises."""
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error


def parse_yaml(text: str) -> object:
    """The content of a YAML text: mappings, sequences, texts, whole numbers and null.

    Raises `ValueError` with the line for a key that comes twice, and for a plain word that a version of YAML reads as something
    else, such as 010 (8), yes (true), 1e3 or a date: it needs quotes, or another way of writing.
    """
    if find_spec("yaml") is None:
        raise ValueError(f"YAML needs a package: {install_command('convert')}; or write JSON")
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return _value(node, {}) if node else None


def _value(node: yaml.Node, values: dict[int, object]) -> object:
    """The value of a node. values: those of nodes, by their ids, since several places may refer to one."""
    import yaml

    if id(node) in values:
        return values[id(node)]
    value: object = None
    if isinstance(node, yaml.MappingNode):
        value = _mapping(node.value, values)
    elif isinstance(node, yaml.SequenceNode):
        value = [_value(item, values) for item in node.value]
    elif node.tag == WHOLE and DECIMAL.fullmatch(node.value):
        value = int(node.value)
    elif node.tag == TEXT and ((isinstance(node, yaml.ScalarNode) and node.style) or not OTHERWISE.fullmatch(node.value)):
        value = node.value
    elif node.tag != NULL:
        kind = "number or bool" if node.tag == TEXT else node.tag.rpartition(":")[2]
        raise ValueError(
            f"line {node.start_mark.line + 1}: YAML may read {node.value[:SHOWN]!r} as {kind}; a text needs quotes, a whole "
            "number has decimal digits alone"
        )
    values[id(node)] = value
    return value


def _mapping(pairs: Sequence[tuple[yaml.Node, yaml.Node]], values: dict[int, object]) -> dict[object, object]:
    result: dict[object, object] = {}
    for key_node, value_node in pairs:
        key = _value(key_node, values)
        if isinstance(key, list | dict) or key in result:
            problem = "is no word" if isinstance(key, list | dict) else "comes twice"
            raise ValueError(f"line {key_node.start_mark.line + 1}: the key {str(key)[:SHOWN]!r} {problem}")
        result[key] = _value(value_node, values)
    return result


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise ValueError(f"the key {key[:SHOWN]!r} comes twice in an object with {first_names(map(repr, values))[:SHOWN]}")
    return values


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
