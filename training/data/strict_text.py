"""Reads JSON and YAML whose values mean one thing alone: a key comes once, a number is a number, a text is a text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from model.command_line import install_command
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

    Raises `ValueError` for other text, for a key that comes twice in one object, and for NaN and infinity, which JSON does not
    have. Raises `OSError` for a file that cannot be read.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=_object, parse_constant=_refuse_constant)
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
        raise ValueError(f"YAML needs a package: {install_command('train')}; or write JSON")
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return _Values().of(node) if node else None


class _Values:
    """The values of YAML's nodes. A node that several places refer to is read once."""

    def __init__(self) -> None:
        self._by_node: dict[int, object] = {}

    def of(self, node: yaml.Node) -> object:
        if id(node) not in self._by_node:
            self._by_node[id(node)] = self._read(node)
        return self._by_node[id(node)]

    def _read(self, node: yaml.Node) -> object:
        import yaml

        if isinstance(node, yaml.MappingNode):
            return self._mapping(node.value)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item) for item in node.value]
        is_quoted = isinstance(node, yaml.ScalarNode) and bool(node.style)
        if node.tag == TEXT and (is_quoted or not OTHERWISE.fullmatch(node.value)):
            return node.value
        if node.tag == WHOLE and DECIMAL.fullmatch(node.value):
            return int(node.value)
        if node.tag == NULL:
            return None
        kind = "number or bool" if node.tag == TEXT else node.tag.rpartition(":")[2]
        raise ValueError(
            f"line {node.start_mark.line + 1}: YAML may read {node.value[:SHOWN]!r} as {kind}; a text needs quotes, a whole "
            "number has decimal digits alone"
        )

    def _mapping(self, pairs: Sequence[tuple[yaml.Node, yaml.Node]]) -> dict[object, object]:
        values: dict[object, object] = {}
        for key_node, value_node in pairs:
            key = self.of(key_node)
            if isinstance(key, list | dict) or key in values:
                problem = "is no word" if isinstance(key, list | dict) else "comes twice"
                raise ValueError(f"line {key_node.start_mark.line + 1}: the key {str(key)[:SHOWN]!r} {problem}")
            values[key] = self.of(value_node)
        return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise ValueError(f"the key {key[:SHOWN]!r} comes twice in an object with {first_names(map(repr, values))[:SHOWN]}")
    return values


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
