"""Mutants are found again in a later commit; coverage says which tests to run first."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="cosmic-ray makes the mutants")
pytest.importorskip("coverage", reason="coverage.py says which tests run a line")

from tests.support.mutants.covering import distance, durations
from tests.support.mutants.mutations import Mutant, draw, mutants, mutate

TEXT = """
def least(a: int | None, b: int) -> int:
    if a < b:
        check(a)
    return a + 1 if a < b else b + 1
"""
SECOND = Mutant("imaging/a.py", "least", "return a + 1 if a < b else b + 1", "core/ReplaceBinaryOperator_Add_Sub", 1)


def write(root: Path, file: str, text: str) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(text)


def test_a_line_has_the_mutants_of_its_operators_and_a_signature_has_none() -> None:
    operators = [(mutant.line, mutant.operator.rpartition("/")[2], mutant.occurrence) for mutant, *_ in mutants("a.py", TEXT)]
    assert ("check(a)", "RemoveStatement", 0) in operators
    assert ("if a < b:", "ReplaceComparisonOperator_Lt_LtE", 0) in operators
    assert ("return a + 1 if a < b else b + 1", "ReplaceComparisonOperator_Lt_LtE", 0) in operators
    assert ("return a + 1 if a < b else b + 1", "ReplaceBinaryOperator_Add_Sub", 1) in operators
    assert not [line for line, *_ in operators if line.startswith("def")]


@pytest.mark.parametrize("file", ["imaging/a.py", "imaging/moved.py"])
def test_a_mutant_is_found_where_its_line_has_moved(tmp_path: Path, file: str) -> None:
    write(tmp_path, file, "X = 1\n\n" + TEXT.replace("check(a)", "pass"))
    place = mutate(SECOND, tmp_path)
    assert place
    assert place[:2] == (file, 7)
    assert "return a + 1 if a < b else b - 1" in place[2]


@pytest.mark.parametrize("text", [TEXT.replace("least", "smallest"), TEXT.replace("b + 1", "b + 2"), ""])
def test_a_mutant_whose_line_or_function_is_no_more_has_gone(tmp_path: Path, text: str) -> None:
    write(tmp_path, "imaging/a.py", text)
    assert mutate(SECOND, tmp_path) is None


def test_a_statement_is_replaced_in_its_place(tmp_path: Path) -> None:
    write(tmp_path, "imaging/a.py", TEXT)
    place = mutate(Mutant("imaging/a.py", "least", "check(a)", "RemoveStatement", 0), tmp_path)
    assert place == ("imaging/a.py", 4, TEXT.replace("check(a)", "pass"))


def test_a_draw_has_lines_of_all_folders_and_is_the_same_for_a_seed(tmp_path: Path) -> None:
    for folder in ("app", "imaging", "model"):
        write(tmp_path, f"{folder}/a.py", TEXT)
    lines = {f"{folder}/a.py": {3, 4, 5} for folder in ("app", "imaging", "model")}
    drawn = draw(tmp_path, lines, 9, seed=1)
    assert drawn == draw(tmp_path, lines, 9, seed=1)
    assert [(mutant.file, len(mutant.line)) for mutant in drawn] == [(file, n) for file in lines for n in (9, 8, 32)]


def test_tests_of_the_mirror_are_nearest() -> None:
    tests = [
        "tests/client/test_a.py::test",
        "tests/client/test_b.py::test",
        "tests/client/x/test_a.py::t",
        "tests/test_a.py::t",
    ]
    assert [distance(test, "client/src/fcn_client/a.py") for test in tests] == [0, 1, 2, 3]


def test_a_test_that_did_not_pass_has_no_duration(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        '<a><testcase file="a.py" name="b" time="2"/><testcase file="a.py" name="c" time="2"><failure/></testcase></a>'
    )
    assert durations(path) == {"a.py::b": 2, "a.py::c": -1}
