"""Every dependency of what is installed has a floor and a ceiling, and its pinned version lies between them."""

from __future__ import annotations

import tomllib
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.checkout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [text for name, extra in PROJECT["optional-dependencies"].items() if name not in ("dev", "test") for text in extra]
SERVED = [Requirement(text) for text in PROJECT["dependencies"]]
OPTIONAL = [Requirement(text) for text in EXTRAS if not text.startswith("fcn-segment")]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())


@pytest.mark.parametrize("required", SERVED + OPTIONAL, ids=str)
def test_a_dependency_is_bounded_and_its_pin_within(required: Requirement) -> None:
    assert {each.operator for each in required.specifier} == {">=", "<"}
    pins = {canonicalize_name(name): version for name, version in PINS.items()}
    assert required.specifier.contains(pins[canonicalize_name(required.name)])


def test_all_that_comes_with_what_is_served_is_pinned() -> None:
    pins, seen = {canonicalize_name(name) for name in PINS}, set()
    todo = list(SERVED)
    while todo:
        required = todo.pop()
        name = canonicalize_name(required.name)
        if name in seen or (required.marker and not required.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        assert name in pins
        todo += map(Requirement, requires(name) or [])
    assert len(seen) > 20
