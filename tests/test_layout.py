"""Where helpers of tests live, and who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.checkout import ROOT

CODE = ("app", "benchmarks", "cli", "client", "docs", "imaging", "model", "training")
HELPERS = ROOT / "tests" / "support"
ENTRIES = ("__init__.py", "__main__.py", "conftest.py")


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """The full names that a file imports, such as `package.module.name`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_are_read_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import a.b\ndef f():\n    from c.d import e, g as h\n")
    assert list(imported(path)) == ["a.b", "c.d.e", "c.d.g"]


def test_no_test_file_and_no_conftest_is_imported() -> None:
    for path in python_files("tests"):
        for name in imported(path):
            package, *modules = name.split(".")
            if package == "tests":
                assert not [each for each in modules if each.startswith("test_") or each == "conftest"], (path, name)


def test_nothing_outside_of_the_tests_imports_them() -> None:
    for path in python_files(*CODE):
        assert not [name for name in imported(path) if name.split(".")[0] == "tests"], path


def test_files_that_hold_no_tests_are_helpers() -> None:
    for path in python_files("tests"):
        assert path.is_relative_to(HELPERS) or path.name.startswith("test_") or path.name in ENTRIES, path
