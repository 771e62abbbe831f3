"""The table of parameters: what is made of it has each of them, and no other file lists them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import fcn_client.parameters
import pytest
from fastapi.testclient import TestClient

import cli.arguments
import cluster.bulk
from app.api.query import QUERY_PARAMETERS
from app.main import create_app
from app.settings import Settings
from docs import parameters as program
from imaging.rendering import ANSWER_FORMATS, Rendering
from model.inference.plan import PARAMETERS, Options
from tests.support.checkout import ROOT

FOLDERS = ("app", "cli", "client/src", "cluster", "common", "docs", "imaging", "model", "training")
MADE_OF_IT = {"client/src/fcn_client/parameters.py"}
TABLE = {"imaging/rendering.py", "model/inference/plan.py", "model/inference/scenes/request.py"}
FEW = 5  # names that a file may pick


def test_every_field_that_a_request_may_set_is_a_parameter() -> None:
    names = {field.name for owner in (Rendering, Options) for field in fields(owner)}
    assert names - PARAMETERS.keys() == {"name", "shapes", "rendering", "tile", "mean_confidence"}
    assert PARAMETERS.keys() - names == {"model"}


def test_a_parameter_goes_with_formats_that_there_are() -> None:
    for parameter in QUERY_PARAMETERS.values():
        assert set(parameter.with_polygons) <= set(parameter.formats) <= set(ANSWER_FORMATS), parameter.name


def test_a_parameter_says_its_values() -> None:
    for parameter in QUERY_PARAMETERS.values():
        has_range = parameter.least < parameter.most
        assert has_range == bool({int, float} & {*parameter.members}), parameter.name
        assert parameter.choices or parameter.is_text or parameter.type is bool or has_range, parameter.name
        assert not parameter.is_text or parameter.values, parameter.name


def test_a_text_is_refused_by_its_pattern_and_not_by_what_reads_it() -> None:
    for parameter in (each for each in PARAMETERS.values() if each.is_text):
        for text in ("", ",", "0", "100%", "100.0000%", "999999999", "a,b", "-1", "1e3", "%", "\n"):
            if re.search(f"^{parameter.pattern}$" if parameter.pattern else "", text):
                parameter.read(text)


@pytest.mark.parametrize("path", ["/segment", "/segment/batch"])
def test_http_has_each_parameter_with_its_values_and_its_help(path: str) -> None:
    document = TestClient(create_app(Settings()), "http://localhost").get("/openapi.json").json()
    entries = document["paths"][path]["post"]["parameters"]
    assert [entry["name"] for entry in entries] == list(QUERY_PARAMETERS)
    for entry, parameter in zip(entries, QUERY_PARAMETERS.values(), strict=True):
        assert entry["description"] == parameter.about
        parts = entry["schema"].get("anyOf", [entry["schema"]])
        choices = [choice for part in parts for choice in part.get("enum", [part["const"]] if "const" in part else [])]
        assert choices == list(parameter.choices)
        spans = {(part["minimum"], part["maximum"]) for part in parts if "minimum" in part}
        assert spans == ({(parameter.least, parameter.most)} if parameter.least < parameter.most else set())


@pytest.mark.parametrize("parser", [cli.arguments.parser, cluster.bulk.parser], ids=["fcn-segment", "fcn-bulk"])
def test_the_command_line_has_each_parameter_that_has_an_option(parser: Any) -> None:
    arguments = {action.dest: action for action in parser()._actions}
    for parameter in PARAMETERS.values():
        if parameter.name == "model" and parser is cluster.bulk.parser:
            continue
        assert (parameter.name in arguments) == bool(parameter.option), parameter.name
        if parameter.is_choice:
            assert tuple(arguments[parameter.name].choices or ()) == parameter.choices


def test_the_client_has_each_parameter_of_the_formats_that_its_methods_read() -> None:
    offered = {*(name for names in fcn_client.parameters.NAMES.values() for name in names), "format"}
    read = {form["format"] for form in fcn_client.parameters.FORMS.values()}
    assert offered == {each.name for each in PARAMETERS.values() if not each.formats or read & set(each.formats)}


@pytest.mark.parametrize("path", program.FILES)
def test_the_client_and_the_pages_are_those_that_the_program_writes(path: str) -> None:
    text = (ROOT / path).read_text()
    assert program.FILES[path](text) == text, f"run {program.COMMAND}"


def lists(path: Path) -> Iterator[set[str]]:
    """The texts of each literal list, tuple, set and dictionary of a file, and the names of each class's fields."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            yield {
                line.target.id for line in node.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
            }
        elements = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        yield {each.value for each in elements if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def test_no_other_file_lists_the_parameters() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for names in lists(path)
        if len(names & QUERY_PARAMETERS.keys()) > FEW
    }
    assert found == TABLE | MADE_OF_IT
