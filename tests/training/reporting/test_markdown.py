"""Cells of Markdown tables that hold bars and line breaks."""

from __future__ import annotations

import re

import pytest

from training.reporting.markdown import literal, table_row


@pytest.mark.parametrize(
    ("cell", "row"),
    [
        ("a", "| a | b |"),
        ("x|y", r"| x\|y | b |"),
        ("x\\|y", r"| x\\\|y | b |"),
        ("x\ny", "| x y | b |"),
        ("x\\", "| x\\ | b |"),
    ],
)
def test_what_a_cell_holds_makes_no_other_cell(cell: str, row: str) -> None:
    assert table_row(cell, "b") == row
    unescaped = re.sub(r"\\[\\|]", "", row)
    assert unescaped.count("|") == 3


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("leaf", "leaf"),
        ("traffic_light", "traffic_light"),
        ("_background_", r"\_background\_"),
        ("$x$ *a* `b` <i> [c]", r"\$x\$ \*a\* \`b\` \<i> \[c]"),
        ("a|b", "a|b"),
    ],
)
def test_names_are_shown_letter_by_letter(name: str, written: str) -> None:
    assert literal(name) == written
