"""What benches found: kept, and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness.results import FOLDER, Ratio, Row, Section, load, page, save, stamp
from benchmarks.main import BENCHES


def test_a_row_is_the_median_and_the_spread() -> None:
    assert str(Row.of("network", [3.0, 1.0, 2.04], "ms")) == "| network | 2.04 ms | 1 to 3 |"
    assert str(Row.of("memory", [1234.5], "MB")) == "| memory | 1234 MB |  |"


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "line"),
    [
        (0.96, 0.95, None, "- r: **0.96** (aim: at least 0.95)"),
        (0.94, 0.95, None, "- r: **0.94** (aim: at least 0.95; missed)"),
        (1.16, None, 1.15, "- r: **1.16** (aim: at most 1.15; missed)"),
        (0.0, None, 0, "- r: **0** (aim: at most 0)"),
        (2.0, None, None, "- r: **2**"),
        (float("nan"), 1, None, "- r: **nan** (aim: at least 1; missed)"),
    ],
    ids=str,
)
def test_a_ratio_tells_whether_its_aim_was_reached(
    value: float, at_least: float | None, at_most: float | None, line: str
) -> None:
    assert str(Ratio("r", value, at_least, at_most)) == line


def test_sections_are_kept_each_with_its_own_machine_and_commit(tmp_path: Path) -> None:
    section = stamp(Section("One", "How.", [Row.of("a", [1.0, 2.0], "s")], [Ratio("b", 0.5, at_most=1)]))
    save("one", section, tmp_path)
    assert load("one", tmp_path) == section
    assert "; served with " in section.machine
    assert load("two", tmp_path) is None
    text = page(["two", "one"], tmp_path)
    for part in ("## One", "How.", section.machine, section.commit, "| a | 1.5 s | 1 to 2 |", "- b: **0.5**"):
        assert part in text


def test_the_page_shows_all_that_is_kept() -> None:
    assert (FOLDER.parent / "RESULTS.md").read_text() == page(list(BENCHES), FOLDER)
