"""`fcn-bench` outside a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cli.bench import main


@pytest.fixture
def benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a package `benchmarks` that hides the checkout's own."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_without_benchmarks_it_says_where_they_are(benchmarks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "fcn-bench: there is no benchmarks/ here; run it in a checkout, installed with `make test`\n"


def test_with_benchmarks_their_status_is_given(benchmarks: Path) -> None:
    (benchmarks / "main.py").write_text("def main():\n    return 7\n")
    assert main() == 7


def test_another_missing_package_is_not_mistaken_for_missing_benchmarks(
    benchmarks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (benchmarks / "main.py").write_text("import a_package_that_is_not_there\n")
    try:
        main()
    except ModuleNotFoundError as error:
        told = str(error)
    else:
        told = capsys.readouterr().err
    assert "a_package_that_is_not_there" in told
